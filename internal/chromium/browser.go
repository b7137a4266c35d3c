//go:build unix

package chromium

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// programs are the names under which systems install the browser, best first.
var programs = []string{"chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "google-chrome-stable"}

// Find returns the browser on the PATH.
func Find() (program string, err error) {
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("chromium: none of %q is on the PATH", programs)
}

// A Browser is one running Chromium with an empty profile. It is safe for concurrent use.
type Browser struct {
	cmd     *exec.Cmd
	wire    *wire
	profile string
	stderr  *tail
	exited  chan struct{}
	close   sync.Once
}

// startTimeout is how long the browser may take to answer for the first time.
const startTimeout = 30 * time.Second

// Open starts the program and waits until it answers. The browser ends with [Browser.Close], when ctx ends, or
// with this process.
func Open(ctx context.Context, program string) (*Browser, error) {
	profile, err := os.MkdirTemp("", "holdfast-chromium-")
	if err != nil {
		return nil, err
	}
	b := &Browser{profile: profile, stderr: &tail{}, exited: make(chan struct{})}
	if err := b.start(ctx, program); err != nil {
		_ = os.RemoveAll(profile)
		return nil, fmt.Errorf("chromium: %w", err)
	}
	ready, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var version struct{ Product string }
	if err := b.wire.call(ready, "", "Browser.getVersion", nil, &version); err != nil {
		err = fmt.Errorf("chromium: no answer: %w; it said: %s", err, b.stderr)
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Browser) start(ctx context.Context, program string) error {
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		return err
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		return errors.Join(err, theirIn.Close(), ourOut.Close())
	}
	args := []string{
		"--headless", "--remote-debugging-pipe", "--user-data-dir=" + b.profile, "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions",
		"--hide-scrollbars", "--force-color-profile=srgb", "--font-render-hinting=none", "--lang=en-US",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // it refuses to sandbox pages for root
	}
	b.cmd = exec.CommandContext(ctx, program, append(args, "about:blank")...)
	b.cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4
	b.cmd.Stderr = b.stderr
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b.cmd.Cancel = func() error { return syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) }
	b.cmd.WaitDelay = 5 * time.Second
	err = b.cmd.Start()
	_, _ = theirIn.Close(), theirOut.Close()
	if err != nil {
		return errors.Join(err, ourIn.Close(), ourOut.Close())
	}
	b.wire = newWire(ourIn, ourOut)
	go func() {
		_ = b.cmd.Wait() // how it ends does not matter
		close(b.exited)
	}()
	return nil
}

// PID returns the number of the browser's process, which leads the group of all its processes.
func (b *Browser) PID() int { return b.cmd.Process.Pid }

// farewell is how long the browser may take to end when it is asked to.
const farewell = 5 * time.Second

// Close ends the browser with all its processes and removes its profile.
func (b *Browser) Close() error {
	var err error
	b.close.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		_ = b.wire.call(ctx, "", "Browser.close", nil, nil)
		b.wire.stop()
		select {
		case <-b.exited:
		case <-ctx.Done():
		}
		left := b.killGroup()
		<-b.exited
		b.wire.wait()
		err = errors.Join(left, removeAll(b.profile))
	})
	return err
}

// killGroup ends the browser's helpers and waits until all are gone.
func (b *Browser) killGroup() error {
	for range 500 {
		if syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) == syscall.ESRCH {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("chromium: processes of group %d do not end", b.cmd.Process.Pid)
}

// removeAll removes a folder that dying processes may still write to.
func removeAll(dir string) (err error) {
	for range 50 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// A tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex // guards buf
	buf []byte
}

const tailSize = 2000

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	t.buf = t.buf[max(0, len(t.buf)-tailSize):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
