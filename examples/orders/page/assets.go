package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"time"
)

// assets are served as they are, but for index.html, which is a template.
//
//go:embed assets
var assets embed.FS

// policy forbids all that the page does not do: code and style in attributes or elements, other origins, frames, forms
// that go elsewhere, and turning strings into markup.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// secured sets the headers that every answer has.
func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.ServeHTTP(w, r)
	})
}

// serveAssets registers the page and its parts, read once.
func (p *Page) serveAssets(mux *http.ServeMux) error {
	files, err := fs.ReadDir(assets, "assets")
	if err != nil {
		return err
	}
	for _, f := range files {
		data, err := assets.ReadFile(path.Join("assets", f.Name()))
		if err != nil {
			return err
		}
		at := "GET /" + f.Name()
		if f.Name() == "index.html" {
			at = "GET /{$}"
			if data, err = p.index(data); err != nil {
				return err
			}
		}
		mux.Handle(at, asset(f.Name(), data))
	}
	return nil
}

// index fills what is fixed into the page's HTML.
func (p *Page) index(source []byte) ([]byte, error) {
	t, err := template.New("index.html").Parse(string(source))
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	err = t.Execute(&page, struct {
		Title, Parts string
		People       []string
	}{p.cfg.Title, p.cfg.Parts, p.cfg.People})
	return page.Bytes(), err
}

// asset serves data, which browsers keep and ask about each time.
func asset(name string, data []byte) http.Handler {
	sum := sha256.Sum256(data)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	kind := mime.TypeByExtension(path.Ext(name))
	if path.Ext(name) == ".js" {
		kind = "text/javascript; charset=utf-8" // whatever the machine's tables say
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("ETag", tag)
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
	})
}
