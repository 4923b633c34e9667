package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/stoa-kernel/stoa/cli"
	"github.com/stoa-kernel/stoa/store"
	"github.com/stoa-kernel/stoa/store/etcd"
)

// storage says where records are kept.
type storage struct {
	endpoints     []string
	ca, cert, key string
	user          string
}

func (s *storage) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&s.endpoints, "store", nil, "`endpoints` of an etcd cluster of yours; without it an etcd is embedded below the data directory")
	f.StringVar(&s.ca, "store-ca", "", "`file` of the certificate authorities that etcd's certificate must be of")
	f.StringVar(&s.cert, "store-cert", "", "`file` of the certificate shown to etcd")
	f.StringVar(&s.key, "store-key", "", "`file` of that certificate's key")
	f.StringVar(&s.user, "store-user", "", "etcd `user`; the password is read from STOA_STORE_PASSWORD")
}

// open returns a function that opens stores, and what ends it all.
func (s *storage) open(ctx context.Context, dataDir string) (open func() store.Store, failed <-chan error, end func(), err error) {
	if len(s.endpoints) == 0 {
		server, err := etcd.Embed(ctx, etcd.EmbedConfig{Dir: filepath.Join(dataDir, "registry"), Fatal: dead})
		if err != nil {
			return nil, nil, nil, err
		}
		return server.Open, server.Err(), server.Close, nil
	}
	t, err := s.tls()
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := etcd.Dial(ctx, etcd.Config{Endpoints: s.endpoints, TLS: t, Username: s.user, Password: os.Getenv("STOA_STORE_PASSWORD")})
	if err != nil {
		return nil, nil, nil, err
	}
	return func() store.Store { return c }, nil, func() {}, nil
}

// with runs do with a store of its own below dataDir, which is locked as what meanwhile,
// until a signal or the failure of the store's server ends its context.
func (s *storage) with(ctx context.Context, dataDir, what string, do func(context.Context, store.Store) error) error {
	dir, err := absolute(dataDir)
	if err != nil {
		return err
	}
	release, err := lock(dir, what)
	if err != nil {
		return err
	}
	defer release()
	ctx, stop := untilSignal(ctx)
	defer stop()
	open, failed, end, err := s.open(ctx, dir)
	if err != nil {
		return err
	}
	defer end()
	records := open()
	defer records.Close()
	return watch(ctx, failed, func(ctx context.Context) error { return do(ctx, records) })
}

// watch runs do until it ends or the registry's server fails under it.
func watch(ctx context.Context, failed <-chan error, do func(context.Context) error) error {
	if failed == nil {
		return do(ctx)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	over := make(chan struct{})
	defer close(over)
	go func() { // ends with over
		select {
		case err := <-failed:
			stop(fmt.Errorf("registry: %w", err))
		case <-over:
		}
	}()
	err := do(ctx)
	// The cause of a signal wraps Canceled: that is an end as it should be.
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// dead says why the process ends here and now.
func dead(err error) {
	cli.Report(os.Stderr, &cli.Error{
		What: "the registry cannot be written", Why: err.Error(),
		Try: "make room on that disk and start again: what was acknowledged is kept, and tasks run on",
	})
}

func (s *storage) tls() (*tls.Config, error) {
	if s.ca == "" && s.cert == "" && s.key == "" {
		for _, e := range s.endpoints {
			if strings.HasPrefix(e, "https://") {
				return &tls.Config{MinVersion: tls.VersionTLS12}, nil
			}
		}
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ca != "" {
		var err error
		if c, err = authorities("store-ca", s.ca); err != nil {
			return nil, err
		}
	}
	if s.cert != "" || s.key != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, fmt.Errorf("--store-cert and --store-key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// authorities trusts the certificate authorities in a file and no others.
func authorities(flag, file string) (*tls.Config, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, &cli.Error{What: "--" + flag + " " + file + " has no certificate in PEM form", Code: cli.ExitUsage}
	}
	return c, nil
}
