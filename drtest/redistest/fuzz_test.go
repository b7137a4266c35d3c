package redistest

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strconv"
	"testing"
)

// FuzzReadCommand reads any bytes as commands: it ends, does not run away with memory, and what
// was read reads the same when it is written again.
func FuzzReadCommand(f *testing.F) {
	for _, seed := range []string{
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "PING\r\n", "*1\r\n$0\r\n\r\n", "*-1\r\n*0\r\n\r\nSET a  b\n",
		"*1048577\r\n", "*1\r\n$536870913\r\n", "*1\r\n$-1\r\n", "*2\r\n$1\r\na\r\n:1\r\n", "*1\r\n$2\r\nabc\r\n", "$", "*", "*1\r\n$3\r\nab",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(bytes.NewReader(data))
		for {
			args, err := readCommand(r)
			if err != nil {
				return
			}
			if len(args) == 0 {
				t.Fatal("a command without a name")
			}
			again, err := readCommand(bufio.NewReader(bytes.NewReader(write(args))))
			if err != nil || !slices.Equal(args, again) {
				t.Fatalf("%q read again is %q, %v", args, again, err)
			}
		}
	})
}

func write(args []string) []byte {
	b := []byte("*" + strconv.Itoa(len(args)) + "\r\n")
	for _, a := range args {
		b = append(b, "$"+strconv.Itoa(len(a))+"\r\n"+a+"\r\n"...)
	}
	return b
}

func TestReadCommandRefusals(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"*x\r\n", "redistest: invalid multibulk length"},
		{"*1048577\r\n", "redistest: invalid multibulk length"},
		{"*1\r\n:1\r\n", "redistest: expected '$'"},
		{"*1\r\n$-1\r\n", "redistest: invalid bulk length"},
		{"*1\r\n$536870913\r\n", "redistest: invalid bulk length"},
		{"*1\r\n$1\r\nab\r\n", "redistest: a bulk string is longer than it says"},
		{"*1\r\n$5\r\nab", io.ErrUnexpectedEOF.Error()},
		{string(bytes.Repeat([]byte("x"), maxLine+1)), "redistest: too big inline request"},
	} {
		if _, err := readCommand(bufio.NewReader(bytes.NewReader([]byte(tt.in)))); err == nil || err.Error() != tt.want {
			t.Errorf("readCommand(%.40q) = %v, want %s", tt.in, err, tt.want)
		}
	}
}
