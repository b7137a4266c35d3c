package redistest

import (
	"crypto/sha1"
	"encoding/hex"
	"regexp"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// A script is one that a client has sent.
type script struct {
	source string
	proto  *lua.FunctionProto // nil if miniredis runs it
}

// Scripts with these words are run by miniredis, each in a Lua state of its own: they could change what the next script finds, or the context of
// its own commands. So are those that assign to a field of a library.
var (
	reserved = regexp.MustCompile(`(?i)\b(select|setresp|set_repl|server|_g|getfenv|setfenv|rawset|setmetatable|debug|require|module|package|load|loadstring|loadfile|dofile|coroutine|random|randomseed|os)\b`)
	assigned = regexp.MustCompile(`\b(redis|string|table|math|cjson)\s*(\.\s*\w+|\[[^\]]*\])\s*=[^=]`)
)

// newScript compiles a script, unless miniredis is to run it.
func newScript(source string) script {
	s := script{source: source}
	if reserved.MatchString(source) || assigned.MatchString(source) {
		return s
	}
	chunk, err := parse.Parse(strings.NewReader(source), "<string>")
	if err != nil {
		return s // miniredis says so
	}
	s.proto, _ = lua.Compile(chunk, "")
	return s
}

// shaOf is the name of a script.
func shaOf(source string) string {
	sum := sha1.Sum([]byte(source))
	return hex.EncodeToString(sum[:])
}
