package redistest

import (
	"fmt"

	"github.com/alicebob/miniredis/v2"
)

const databases = 16

// copyAll copies every key of one miniredis to another, empty one.
func copyAll(from, to *miniredis.Miniredis) {
	for n := range databases {
		src, dst := from.DB(n), to.DB(n)
		for _, key := range src.Keys() {
			if err := copyKey(src, dst, key); err != nil {
				panic(fmt.Sprintf("redistest: copy of key %q: %v", key, err))
			}
			if ttl := src.TTL(key); ttl > 0 {
				dst.SetTTL(key, ttl)
			}
		}
	}
}

func copyKey(src, dst *miniredis.RedisDB, key string) error {
	switch kind := src.Type(key); kind {
	case "string":
		value, err := src.Get(key)
		if err != nil {
			return err
		}
		return dst.Set(key, value)
	case "hash":
		return copyHash(src, dst, key)
	case "list":
		values, err := src.List(key)
		if err == nil {
			_, err = dst.Push(key, values...)
		}
		return err
	case "set":
		members, err := src.Members(key)
		if err == nil {
			_, err = dst.SetAdd(key, members...)
		}
		return err
	case "zset":
		scores, err := src.SortedSet(key)
		for member, score := range scores {
			if _, err := dst.ZAdd(key, score, member); err != nil {
				return err
			}
		}
		return err
	case "stream":
		entries, err := src.Stream(key)
		for _, e := range entries {
			if _, err := dst.XAdd(key, e.ID, e.Values); err != nil {
				return err
			}
		}
		return err
	default:
		return fmt.Errorf("keys of type %q cannot be copied", kind)
	}
}

func copyHash(src, dst *miniredis.RedisDB, key string) error {
	fields, err := src.HKeys(key)
	if err != nil {
		return err
	}
	for _, field := range fields {
		dst.HSet(key, field, src.HGet(key, field))
		if ttl := src.HTTL(key, field); ttl > 0 {
			dst.HExpire(key, field, ttl)
		}
	}
	return nil
}
