//go:build unix

package servers

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// An account is the user that a server runs as. Nil is the caller's own.
type account struct {
	name     string
	uid, gid int
}

// unprivileged returns the account for a server that refuses root: nil when the caller is not
// root, else the user postgres or nobody.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 == nil && err2 == nil {
			return &account{name: name, uid: uid, gid: gid}, nil
		}
	}
	return nil, errors.New("PostgreSQL refuses root, and there is neither a user postgres nor a user nobody")
}

// attr describes a child of this account that leads its own process group and receives death
// when this process ends.
func (a *account) attr(death syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	dieWith(attr, death)
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// folder makes an empty private folder for the account: base itself where the account can reach
// it, else one in the system's temporary folder, whose name depends on base alone, so that the
// next run finds and replaces what a crash left.
func (a *account) folder(base string) (string, error) {
	dir := base
	if a != nil && !reachable(base) {
		dir = scratch(base)
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if a == nil {
		return dir, nil
	}
	return dir, os.Chown(dir, a.uid, a.gid)
}

func scratch(base string) string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("holdfast-%x", sha256.Sum256([]byte(base)))[:25])
}

// reachable reports whether every user may pass through the folders above path.
func reachable(path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}
