package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// runTask is what a task does: it counts the shard in its sandbox, leaves the result there,
// and posts it to the framework. It exits with 0 only when the framework has it, and doing
// it twice does no harm.
func runTask(ctx context.Context, shard, report string, stdout io.Writer) error {
	f, err := os.Open(shard)
	if err != nil {
		return err
	}
	defer f.Close()
	n := make(counts)
	if err := n.count(f); err != nil {
		return err
	}
	text := n.text()
	if err := os.WriteFile(shard+".counts", text, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %d words, %d of them different, in %s.counts\n", shard, n.total(), len(n), shard)
	// The framework may be starting again just now.
	for try := 1; ; try++ {
		err := post(ctx, report, text)
		if err == nil || try == 10 {
			return err
		}
		select {
		case <-time.After(time.Duration(try) * 200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func post(ctx context.Context, url string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/plain")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // only to say more
		return fmt.Errorf("posting the counts: %s: %s", resp.Status, bytes.TrimSpace(text))
	}
	return nil
}
