// Package account looks up the users tasks run as.
package account

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// Account is a user of the machine.
type Account struct {
	Name   string
	UID    uint32
	GID    uint32
	Groups []uint32
}

// Lookup finds a user by name or by number; "" is the user of this process.
func Lookup(name string) (Account, error) {
	if name == "" {
		return Current()
	}
	u, err := user.Lookup(name)
	if err != nil {
		if _, numeric := strconv.ParseUint(name, 10, 32); numeric != nil {
			return Account{}, fmt.Errorf("user %q does not exist on this machine", name)
		}
		if u, err = user.LookupId(name); err != nil {
			return Account{}, fmt.Errorf("user %q does not exist on this machine", name)
		}
	}
	a := Account{Name: u.Username}
	if a.UID, err = number(u.Uid); err != nil {
		return Account{}, fmt.Errorf("user %q: %w", name, err)
	}
	if a.GID, err = number(u.Gid); err != nil {
		return Account{}, fmt.Errorf("user %q: %w", name, err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return Account{}, fmt.Errorf("groups of user %q: %w", name, err)
	}
	for _, g := range groups {
		n, err := number(g)
		if err != nil {
			return Account{}, fmt.Errorf("groups of user %q: %w", name, err)
		}
		a.Groups = append(a.Groups, n)
	}
	return a, nil
}

// Current is the user of this process; its name is the number where the machine has no
// entry for it.
func Current() (Account, error) {
	groups, err := os.Getgroups()
	if err != nil {
		return Account{}, fmt.Errorf("groups of this process: %w", err)
	}
	a := Account{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	for _, g := range groups {
		a.Groups = append(a.Groups, uint32(g))
	}
	a.Name = strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(a.Name); err == nil {
		a.Name = u.Username
	}
	return a, nil
}

func number(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

// Credential is what a child process is started with to be the account; nil if it
// already is, since an unprivileged process may not even set what it has.
func (a Account) Credential() *syscall.Credential {
	if os.Geteuid() == int(a.UID) {
		return nil
	}
	return &syscall.Credential{Uid: a.UID, Gid: a.GID, Groups: a.Groups}
}

// Mine says whether a is the user of this process.
func (a Account) Mine() bool { return os.Geteuid() == int(a.UID) }
