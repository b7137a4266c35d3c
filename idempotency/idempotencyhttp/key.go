package idempotencyhttp

import (
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-go/holdfast/idempotency"
)

// parseKey reads the header's value: a string of RFC 8941, whose parameters are ignored, or, unless strict, bare text. Both
// spellings of a key are one key.
func parseKey(values []string, strict bool) (string, error) {
	if len(values) > 1 {
		return "", errors.New("the key was sent twice")
	}
	value := strings.Trim(values[0], " \t")
	id, err := value, error(nil)
	switch {
	case strings.HasPrefix(value, `"`):
		id, err = parseQuoted(value)
	case strict:
		err = errors.New("the key is not in quotes, as RFC 8941 wants strings")
	case strings.ContainsAny(value, `",`):
		err = errors.New("the key is neither one string nor bare text without quotes and commas")
	}
	if err != nil {
		return "", err
	}
	if err := (idempotency.Key{ID: id}).Validate(); err != nil {
		e, _ := errors.AsType[*idempotency.Error](err)
		return "", e.Err
	}
	return id, nil
}

// parseQuoted reads a string of RFC 8941, section 4.2.5, and what may follow it in an item.
func parseQuoted(value string) (string, error) {
	var b strings.Builder
	for i := 1; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"':
			return b.String(), parameters(value[i+1:])
		case c == '\\':
			if i++; i == len(value) || value[i] != '"' && value[i] != '\\' {
				return "", errors.New(`the key has a backslash before neither " nor \`)
			}
			b.WriteByte(value[i])
		case c < 0x20 || c > 0x7e:
			return "", fmt.Errorf("the key has byte %#02x", c)
		default:
			b.WriteByte(c)
		}
	}
	return "", errors.New("the key's closing quote is missing")
}

// parameters accepts what starts like parameters; this header defines none.
func parameters(rest string) error {
	if rest == "" || strings.HasPrefix(strings.TrimLeft(rest, " "), ";") {
		return nil
	}
	return errors.New("something follows the key")
}

// quote writes id as a string of RFC 8941.
func quote(id string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(id) + `"`
}
