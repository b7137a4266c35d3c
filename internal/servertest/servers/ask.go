//go:build unix

package servers

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// ask asks the server at address, as [Server.Addr] gives it, for an answer.
func ask(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	switch {
	case err == nil && u.Scheme == "http":
		return askHTTP(ctx, address)
	case err == nil && u.Scheme == "postgres":
		return askPostgres(ctx, u.Host)
	}
	return askRedis(ctx, address)
}

// askRedis sends PING. A Redis that is still reading its files refuses it.
func askRedis(ctx context.Context, addr string) error {
	line, err := talk(ctx, addr, "PING\r\n", func(r *bufio.Reader) (string, error) { return r.ReadString('\n') })
	if err == nil && !strings.HasPrefix(line, "+PONG") {
		err = fmt.Errorf("answered PING with %q", line)
	}
	return err
}

// askPostgres asks whether encryption is spoken, the one question that needs no account.
func askPostgres(ctx context.Context, addr string) error {
	const sslRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	reply, err := talk(ctx, addr, sslRequest, func(r *bufio.Reader) (string, error) {
		b, err := r.ReadByte()
		return string(rune(b)), err
	})
	if err == nil && reply != "N" && reply != "S" {
		err = fmt.Errorf("answered a request for encryption with %q", reply)
	}
	return err
}

// talk sends text to addr and reads what comes back.
func talk(ctx context.Context, addr, text string, read func(*bufio.Reader) (string, error)) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	return read(bufio.NewReader(conn))
}

// askHTTP asks for the page and takes any answer below 500.
func askHTTP(ctx context.Context, page string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%s answers %s", page, resp.Status)
	}
	return nil
}
