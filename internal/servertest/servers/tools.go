//go:build unix

package servers

import (
	"context"
	"crypto/sha256"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-go/holdfast/internal/chromium"
)

// pinned holds the exact versions of all that is installed from npm and PyPI.
//
//go:embed npm pip
var pinned embed.FS

const (
	fauxqsScript = "fauxqs.mjs"
	minNode      = 20
	minPython    = 311 // 3.11
)

// A MissingError says that a server cannot be started here because something is not installed.
type MissingError struct {
	What   string // what is missing
	Reason string // why it was not installed
}

func (e *MissingError) Error() string { return e.What + " is missing: " + e.Reason }

// notYet is the reason while nobody has tried to install.
const notYet = "scripts/servers up installs it"

func findRedis() (string, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return "", &MissingError{What: "redis-server", Reason: notYet}
	}
	return bin, nil
}

// FindChromium returns the browser that tests start, or a [MissingError].
func FindChromium() (string, error) {
	bin, err := chromium.Find()
	if err != nil {
		return "", &MissingError{What: "Chromium", Reason: notYet}
	}
	return bin, nil
}

// findPostgres returns the folder with the programs of the newest PostgreSQL. Debian keeps the
// server's programs off the PATH.
func findPostgres() (string, error) {
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"} {
		dirs, _ := filepath.Glob(pattern)
		found = append(found, dirs...)
	}
	slices.SortFunc(found, func(a, b string) int { return pgVersion(b) - pgVersion(a) })
	if onPath, err := exec.LookPath("initdb"); err == nil {
		found = append(found, filepath.Dir(onPath))
	}
	for _, dir := range found {
		if hasPrograms(dir, "initdb", "postgres", "psql", "pg_basebackup", "pg_rewind") {
			return dir, nil
		}
	}
	return "", &MissingError{What: "PostgreSQL", Reason: notYet}
}

var digits = regexp.MustCompile(`\d+`)

func pgVersion(dir string) int {
	n, _ := strconv.Atoi(digits.FindString(dir))
	return n
}

func hasPrograms(dir string, names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		_, err := exec.LookPath(filepath.Join(dir, name))
		return err != nil
	})
}

// findFauxqs returns Node.js and the folder that fauxqs is installed in.
func findFauxqs() (node, app string, err error) {
	if node, err = findNode(); err != nil {
		return "", "", err
	}
	if app, err = cached("npm", "fauxqs"); err != nil {
		return "", "", err
	}
	if _, err := os.Stat(filepath.Join(app, fauxqsScript)); err != nil {
		return "", "", &MissingError{What: "fauxqs", Reason: notYet}
	}
	return node, app, nil
}

func findNode() (string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return "", &MissingError{What: "Node.js", Reason: notYet}
	}
	out, _ := exec.Command(node, "--version").Output()
	if major, _ := strconv.Atoi(digits.FindString(string(out))); major < minNode {
		return "", &MissingError{What: fmt.Sprintf("Node.js %d", minNode), Reason: fmt.Sprintf("%s is %s", node, strings.TrimSpace(string(out)))}
	}
	return node, nil
}

// findMoto returns the Python that has moto.
func findMoto() (string, error) {
	dir, err := cached("pip", "moto")
	if err != nil {
		return "", err
	}
	python := filepath.Join(dir, "bin", "python")
	if _, err := os.Stat(python); err != nil { // also when the Python below it was removed
		return "", &MissingError{What: "moto", Reason: notYet}
	}
	return python, nil
}

// findPython returns a Python that moto can be installed with.
func findPython(ctx context.Context) (string, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", &MissingError{What: "python3", Reason: notYet}
	}
	out, _ := exec.CommandContext(ctx, python, "-c", "import sys; print(sys.version_info[0]*100+sys.version_info[1])").Output()
	if version, _ := strconv.Atoi(strings.TrimSpace(string(out))); version < minPython {
		return "", &MissingError{What: "Python 3.11", Reason: python + " is older"}
	}
	return python, nil
}

// cached returns the folder for the packages pinned below kind. Its name changes with the pins,
// so that a new version is a new folder.
func cached(kind, name string) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", &MissingError{What: name, Reason: err.Error()}
	}
	sum := sha256.New()
	files, _ := pinned.ReadDir(kind)
	for _, f := range files {
		data, _ := pinned.ReadFile(kind + "/" + f.Name())
		fmt.Fprintf(sum, "%s %d\n%s", f.Name(), len(data), data)
	}
	return filepath.Join(base, "holdfast-servers", fmt.Sprintf("%s-%x", name, sum.Sum(nil)[:6])), nil
}
