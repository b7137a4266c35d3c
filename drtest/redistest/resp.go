package redistest

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
)

// A protocolError is what is wrong with a client's bytes.
type protocolError string

func (e protocolError) Error() string { return "redistest: " + string(e) }

// Limits of a command, those of Redis.
const (
	maxArgs = 1 << 20
	maxBulk = 512 << 20
	maxLine = 64 << 10
)

// readCommand reads one command: an array of bulk strings, or words on a line.
func readCommand(r *bufio.Reader) ([]string, error) {
	for {
		line, err := readLine(r)
		if err != nil {
			return nil, err
		}
		if line == "" {
			continue
		}
		if line[0] != '*' {
			if words := strings.Fields(line); len(words) > 0 {
				return words, nil
			}
			continue
		}
		n, err := strconv.Atoi(line[1:])
		if err != nil || n > maxArgs {
			return nil, protocolError("invalid multibulk length")
		}
		if n > 0 {
			return readBulks(r, n)
		}
	}
}

func readBulks(r *bufio.Reader, n int) ([]string, error) {
	args := make([]string, 0, min(n, 64)) // not n: nobody has sent that many yet
	for range n {
		line, err := readLine(r)
		if err != nil {
			return nil, err
		}
		if line == "" || line[0] != '$' {
			return nil, protocolError("expected '$'")
		}
		size, err := strconv.Atoi(line[1:])
		if err != nil || size < 0 || size > maxBulk {
			return nil, protocolError("invalid bulk length")
		}
		arg, err := readBulk(r, size)
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
	}
	return args, nil
}

// readBulk reads size bytes and the line end behind them.
func readBulk(r *bufio.Reader, size int) (string, error) {
	var b strings.Builder
	if _, err := io.CopyN(&b, r, int64(size)); err != nil {
		return "", io.ErrUnexpectedEOF
	}
	end, err := readLine(r)
	if err != nil {
		return "", err
	}
	if end != "" {
		return "", protocolError("a bulk string is longer than it says")
	}
	return b.String(), nil
}

func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return "", protocolError("too big inline request")
		}
		if err == nil {
			return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
}
