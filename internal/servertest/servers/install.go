//go:build unix

package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// An installer puts what is missing on the machine: npm and PyPI packages into a private folder,
// Debian packages only for root.
type installer struct {
	out     io.Writer // progress, for people
	root    bool      // may install Debian packages
	updated bool      // apt-get update has run
}

// off is why nothing is installed, or "".
func (*installer) off() string {
	if os.Getenv("HOLDFAST_INSTALL") == "0" {
		return "HOLDFAST_INSTALL=0 forbids to install it"
	}
	return ""
}

// redis makes sure that findRedis finds one.
func (in *installer) redis(ctx context.Context) error {
	_, err := findRedis()
	return in.orDebian(ctx, err, func() error { _, err := findRedis(); return err }, "redis-server")
}

func (in *installer) postgres(ctx context.Context) error {
	_, err := findPostgres()
	return in.orDebian(ctx, err, func() error { _, err := findPostgres(); return err }, "postgresql")
}

func (in *installer) chromium(ctx context.Context) error {
	_, err := FindChromium()
	return in.orDebian(ctx, err, func() error { _, err := FindChromium(); return err }, "chromium")
}

// orDebian installs packages when missing is a [MissingError], and looks again.
func (in *installer) orDebian(ctx context.Context, missing error, again func() error, packages ...string) error {
	if missing == nil {
		return nil
	}
	want, ok := errors.AsType[*MissingError](missing)
	if !ok || want.Reason != notYet {
		return missing
	}
	if err := in.debian(ctx, packages...); err != nil {
		return &MissingError{What: want.What, Reason: err.Error()}
	}
	return again()
}

// fauxqs makes sure that findFauxqs finds it.
func (in *installer) fauxqs(ctx context.Context) error {
	_, err := findNode()
	if err := in.orDebian(ctx, err, func() error { _, err := findNode(); return err }, "nodejs", "npm"); err != nil {
		return err
	}
	if _, _, err := findFauxqs(); err == nil {
		return nil
	}
	if why := in.off(); why != "" {
		return &MissingError{What: "fauxqs", Reason: why}
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return &MissingError{What: "fauxqs", Reason: "there is no npm to install it with"}
	}
	return in.build(ctx, "npm", "fauxqs", func(dir string) error {
		return in.run(ctx, dir, npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
	})
}

// moto makes sure that findMoto finds it.
func (in *installer) moto(ctx context.Context) error {
	if _, err := findMoto(); err == nil {
		return nil
	}
	_, err := findPython(ctx)
	if err := in.orDebian(ctx, err, func() error { _, err := findPython(ctx); return err }, "python3"); err != nil {
		return err
	}
	if why := in.off(); why != "" {
		return &MissingError{What: "moto", Reason: why}
	}
	python, err := findPython(ctx)
	if err != nil {
		return err
	}
	// Debian splits the module that makes a private environment off its Python.
	if exec.CommandContext(ctx, python, "-c", "import ensurepip, venv").Run() != nil {
		if err := in.debian(ctx, "python3-venv"); err != nil {
			return &MissingError{What: "python3-venv", Reason: err.Error()}
		}
	}
	return in.build(ctx, "pip", "moto", func(dir string) error {
		if err := in.run(ctx, dir, python, "-m", "venv", "--copies", "."); err != nil {
			return err
		}
		return in.run(ctx, dir, filepath.Join(dir, "bin", "python"), "-m", "pip", "install",
			"--quiet", "--disable-pip-version-check", "--no-input", "-r", "requirements.txt")
	})
}

// build fills the cache folder of the packages pinned below kind. It works in a folder beside it
// and renames that at the end, so that a half-made folder is never found.
func (in *installer) build(ctx context.Context, kind, name string, fill func(dir string) error) error {
	final, err := cached(kind, name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return &MissingError{What: name, Reason: err.Error()}
	}
	dir, err := os.MkdirTemp(filepath.Dir(final), name+".part-")
	if err != nil {
		return &MissingError{What: name, Reason: err.Error()}
	}
	defer os.RemoveAll(dir)
	in.say("installing %s into %s", name, final)
	files, _ := pinned.ReadDir(kind)
	for _, f := range files {
		data, _ := pinned.ReadFile(kind + "/" + f.Name())
		if err := os.WriteFile(filepath.Join(dir, f.Name()), data, 0o644); err != nil {
			return &MissingError{What: name, Reason: err.Error()}
		}
	}
	if err := fill(dir); err != nil {
		return installFailed(ctx, name, err)
	}
	os.RemoveAll(final) // what was there did not work; a parallel run may have made it anew, of the same packages
	if err := os.Rename(dir, final); err != nil && !hasDir(final) {
		return &MissingError{What: name, Reason: err.Error()}
	}
	return nil
}

func installFailed(ctx context.Context, name string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &MissingError{What: name, Reason: err.Error()}
}

func hasDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// debian installs packages with apt-get, as root only and never by sudo.
func (in *installer) debian(ctx context.Context, packages ...string) error {
	list := strings.Join(packages, " ")
	if why := in.off(); why != "" {
		return errors.New(why)
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return fmt.Errorf("there is no apt-get to install it with; install %s (Debian's name) by the means of your system", list)
	}
	if !in.root {
		return fmt.Errorf("only root may install it; run: apt-get install %s", list)
	}
	defer in.quietServices()()
	in.say("installing the Debian packages %s", list)
	if !in.updated {
		// An interrupted run may have left packages unpacked; apt-get refuses to go on before this.
		if err := in.run(ctx, "/", "dpkg", "--configure", "-a"); err != nil {
			return err
		}
		if err := in.run(ctx, "/", apt, "-q", "update"); err != nil {
			return err
		}
		in.updated = true
	}
	args := append([]string{"-q", "-y", "-o", "DPkg::Lock::Timeout=120", "install", "--no-install-recommends"}, packages...)
	return in.run(ctx, "/", apt, args...)
}

// policyFile, when it answers 101, keeps a package from starting its own service: a Redis on
// 6379 that nobody asked for.
const (
	policyFile = "/usr/sbin/policy-rc.d"
	policy     = "#!/bin/sh\n# Written by holdfast's scripts/servers for the time of an installation.\nexit 101\n"
)

// quietServices forbids new services to start, unless the machine has rules of its own, and
// returns what takes that back. What a crash left of it is taken back too.
func (in *installer) quietServices() (undo func()) {
	if data, err := os.ReadFile(policyFile); err == nil && string(data) != policy {
		return func() {}
	}
	if err := os.WriteFile(policyFile, []byte(policy), 0o755); err != nil {
		in.say("note: %v; the packages may start services of their own", err)
	}
	return func() { os.Remove(policyFile) }
}

// run runs one step of an installation and quotes the end of its output when it fails. When ctx
// ends it asks the step to stop and waits for it.
func (in *installer) run(ctx context.Context, dir, program string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = (*account)(nil).attr(syscall.SIGTERM)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%s %s: %w%s", filepath.Base(program), args[0], err, tail(out.Bytes()))
	}
	return nil
}

// tail quotes the last lines of a program's output.
func tail(out []byte) string {
	out = bytes.TrimSpace(out)
	if len(out) == 0 {
		return ""
	}
	lines := bytes.Split(out, []byte("\n"))
	return fmt.Sprintf(" (it ends: %s)", bytes.Join(lines[max(0, len(lines)-3):], []byte(" | ")))
}

func (in *installer) say(format string, args ...any) {
	fmt.Fprintf(in.out, "servers: "+format+"\n", args...)
}
