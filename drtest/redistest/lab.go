package redistest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	luajson "github.com/alicebob/miniredis/v2/gopher-json"
	"github.com/alicebob/miniredis/v2/server"
	lua "github.com/yuin/gopher-lua"
)

// A lab runs Lua scripts on a miniredis in one Lua state. Miniredis makes a state with all its libraries for every run, which costs many times what a script
// does. The commands in a script are miniredis', under its lock and in the context that it has for them. The server's lock guards a lab.
type lab struct {
	engine *engine
	nested map[int]any // by database: the context of commands in scripts
	heard  any         // the context of the last commandContext

	state *lua.LState // nil until the first script
	sha   string      // of the script that runs
	peer  *server.Peer
	reply bytes.Buffer // to the peer
	out   *bufio.Writer
	in    *bufio.Reader
}

// commandContext tells the lab in which context it runs, in a script that does nothing else. To clients it is unknown.
const (
	commandContext = "HOLDFAST.CONTEXT"
	scriptContext  = "redis.call('" + commandContext + "')"
)

func newLab(e *engine) *lab {
	l := &lab{engine: e, nested: map[int]any{}}
	l.out, l.in = bufio.NewWriterSize(&l.reply, 512), bufio.NewReaderSize(&l.reply, 512)
	l.peer = server.NewPeer(l.out)
	hear := func(c *server.Peer, cmd string, _ []string) {
		l.heard = c.Ctx
		c.WriteError("ERR unknown command `" + cmd + "`, with args beginning with: ")
	}
	if err := e.Server().Register(commandContext, hear, server.ReadOnlyOption()); err != nil {
		panic("redistest: miniredis: " + err.Error()) // of a constant
	}
	return l
}

// run does an EVALSHA for a client outside of MULTI. It reports false, and has done nothing, if miniredis is to do it.
func (l *lab) run(c *conn, proto *lua.FunctionProto, args []string) bool {
	if proto == nil || len(args) < 3 {
		return false
	}
	n, err := strconv.Atoi(args[2])
	if err != nil || n < 0 || n > len(args)-3 || !l.known(c, args[1]) {
		return false
	}
	nested := l.contextOf(c)
	if nested == nil {
		return false
	}
	l.engine.Lock()
	defer l.engine.Unlock()
	l.sha, l.peer.Ctx = args[1], nested
	l.runLocked(c.peer, proto, args[3:3+n], args[3+n:])
	return true
}

// known asks miniredis in the client's name whether it has the script: it may have been flushed, and the client not be let in.
func (l *lab) known(c *conn, sha string) bool {
	l.peer.Ctx = c.peer.Ctx
	answer, err := l.dispatch([]string{"SCRIPT", "EXISTS", sha})
	found, ok := answer.([]any)
	return err == nil && ok && len(found) == 1 && found[0] == 1
}

// dispatch has miniredis do a command in the context of the peer.
func (l *lab) dispatch(args []string) (any, error) {
	l.reply.Reset()
	l.in.Reset(&l.reply)
	l.engine.Server().Dispatch(l.peer, args)
	l.peer.Flush()
	return server.ParseReply(l.in)
}

// contextOf returns the context for the commands of the client's scripts. The script that asks for it fails, so miniredis does not keep it.
func (l *lab) contextOf(c *conn) any {
	if l.nested[c.db] == nil {
		peer := server.NewPeer(bufio.NewWriter(io.Discard))
		peer.Ctx = c.peer.Ctx
		l.engine.Server().Dispatch(peer, []string{"EVAL", scriptContext, "0"})
		l.nested[c.db], l.heard = l.heard, nil
	}
	return l.nested[c.db]
}

// runLocked runs a script. Miniredis' lock is held.
func (l *lab) runLocked(client *server.Peer, proto *lua.FunctionProto, keys, argv []string) {
	if l.state == nil {
		l.state = l.open()
	}
	defer l.state.SetTop(0)
	l.pass("KEYS", keys)
	l.pass("ARGV", argv)
	l.state.Push(l.state.NewFunctionFromProto(proto))
	if err := l.state.PCall(0, lua.MultRet, nil); err != nil {
		client.WriteError("ERR Error compiling script (new function): " + err.Error()) // miniredis' words
		return
	}
	answer(client, l.state.Get(1))
}

// pass sets a global list.
func (l *lab) pass(name string, values []string) {
	list := l.state.CreateTable(len(values), 0)
	for _, v := range values {
		list.Append(lua.LString(v))
	}
	l.state.G.Global.RawSetString(name, list)
}

// open makes a state as miniredis does: its libraries, redis, cjson, and no other globals.
func (l *lab) open() *lua.LState {
	s := lua.NewState(lua.Options{SkipOpenLibs: true})
	for _, open := range []struct {
		name string
		f    lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
		{lua.StringLibName, lua.OpenString},
		{lua.MathLibName, lua.OpenMath},
		{lua.DebugLibName, lua.OpenDebug},
	} {
		s.Push(s.NewFunction(open.f))
		s.Push(lua.LString(open.name))
		s.Call(1, 0)
	}
	luajson.Preload(s)
	globals := s.G.Global
	globals.RawSetString("redis", s.SetFuncs(s.NewTable(), map[string]lua.LGFunction{
		"call": l.call, "pcall": l.pcall, "error_reply": errorReply, "status_reply": statusReply, "sha1hex": sha1hex, "log": func(*lua.LState) int { return 0 },
	}))
	if err := s.DoString(prelude); err != nil {
		panic("redistest: Lua: " + err.Error()) // of a constant
	}
	return s
}

// prelude ends a state's making: whoever names a global that is not there is told so.
const prelude = `
cjson = require("json")
local info = debug.getinfo
debug = nil
local function strange(verb, name)
  if info(3) and info(3, "S").what ~= "C" then
    error("Script attempted to " .. verb .. " global variable '" .. tostring(name) .. "'", 3)
  end
end
setmetatable(_G, {
  __newindex = function(t, name, v) strange("create", name) rawset(t, name, v) end,
  __index = function(t, name) strange("access nonexistent", name) end,
})
`

// call is redis.call: an error ends the script.
func (l *lab) call(s *lua.LState) int {
	value, err := l.do(s)
	if err == nil {
		s.Push(value)
		return 1
	}
	text := err.Error()
	if strings.Contains(text, unknownCommand) {
		text = fmt.Sprintf("Unknown Redis command called from script script: %s, &c.", l.sha)
	}
	s.Error(lua.LString(text), 1)
	return 0
}

// pcall is redis.pcall: an error is the script's to see.
func (l *lab) pcall(s *lua.LState) int {
	value, err := l.do(s)
	if err != nil {
		text := err.Error()
		if strings.Contains(text, unknownCommand) {
			text = "ERR Unknown Redis command called from script"
		}
		failed := s.NewTable()
		failed.RawSetString("err", lua.LString(text))
		value = failed
	}
	s.Push(value)
	return 1
}

const unknownCommand = "ERR unknown command"

// do runs the command that the script gives as arguments.
func (l *lab) do(s *lua.LState) (lua.LValue, error) {
	top := s.GetTop()
	if top == 0 {
		s.Error(lua.LString(fmt.Sprintf("Please specify at least one argument for this redis lib call script: %s, &c.", l.sha)), 1)
	}
	args := make([]string, top)
	for i := range args {
		switch v := s.Get(i + 1).(type) {
		case lua.LNumber, lua.LString:
			args[i] = v.String()
		default:
			s.Error(lua.LString(fmt.Sprintf("Lua redis lib command arguments must be strings or integers script: %s, &c.", l.sha)), 1)
		}
	}
	reply, err := l.dispatch(args)
	if err != nil {
		return nil, errors.New(strings.Replace(err.Error(), shaOf(scriptContext), l.sha, 1)) // miniredis names the script of the context
	}
	return valueOf(s, reply), nil
}

// valueOf is what a script sees of a reply.
func valueOf(s *lua.LState, reply any) lua.LValue {
	switch r := reply.(type) {
	case nil:
		return lua.LFalse
	case int:
		return lua.LNumber(r)
	case string:
		return lua.LString(r)
	case server.Simple:
		return field(s, "ok", string(r))
	case []any:
		list := s.CreateTable(len(r), 0)
		for i, e := range r {
			list.RawSetInt(i+1, valueOf(s, e))
		}
		return list
	}
	panic(fmt.Sprintf("redistest: a reply of type %T", reply)) // server.ParseReply has no other
}

func field(s *lua.LState, name, value string) *lua.LTable {
	t := s.NewTable()
	t.RawSetString(name, lua.LString(value))
	return t
}

// answer tells the client what a script returned.
func answer(c *server.Peer, value lua.LValue) {
	switch v := value.(type) {
	case lua.LBool:
		if v {
			c.WriteInt(1)
		} else {
			c.WriteNull()
		}
	case lua.LNumber:
		c.WriteInt(int(v))
	case lua.LString:
		c.WriteBulk(string(v))
	case *lua.LTable:
		answerTable(c, v)
	default: // nil, and what Redis has no reply for
		c.WriteNull()
	}
}

func answerTable(c *server.Peer, t *lua.LTable) {
	if text := t.RawGetString("err"); text != lua.LNil {
		c.WriteError(text.String())
		return
	}
	if text := t.RawGetString("ok"); text != lua.LNil {
		c.WriteInline(text.String())
		return
	}
	n := 0
	for t.RawGetInt(n+1) != lua.LNil {
		n++
	}
	c.WriteLen(n)
	for i := range n {
		answer(c, t.RawGetInt(i+1))
	}
}

// errorReply is redis.error_reply.
func errorReply(s *lua.LState) int {
	text, ok := s.Get(1).(lua.LString)
	if !ok {
		s.Error(lua.LString("wrong number or type of arguments"), 1)
	}
	code, rest, two := strings.Cut(string(text), " ")
	code = strings.TrimPrefix(code, "-")
	if two {
		s.Push(field(s, "err", code+" "+rest))
	} else {
		s.Push(field(s, "err", "ERR "+code))
	}
	return 1
}

// statusReply is redis.status_reply.
func statusReply(s *lua.LState) int {
	text, ok := s.Get(1).(lua.LString)
	if !ok {
		s.Error(lua.LString("wrong number or type of arguments"), 1)
	}
	s.Push(field(s, "ok", string(text)))
	return 1
}

// sha1hex is redis.sha1hex.
func sha1hex(s *lua.LState) int {
	if s.GetTop() != 1 {
		s.Error(lua.LString("wrong number of arguments"), 1)
	}
	s.Push(lua.LString(shaOf(lua.LVAsString(s.Get(1)))))
	return 1
}
