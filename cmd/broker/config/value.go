package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// set parses text into a setting: by the type's own UnmarshalText if it has one.
// Lists and maps are written as a,b and k=v,k=v.
func set(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		return setInt(v, text)
	case reflect.Uint, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a whole number from 0 that fits", text)
		}
		v.SetUint(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(f)
	case reflect.Slice:
		return setSlice(v, splitList(text))
	case reflect.Map:
		return setPairs(v, splitList(text))
	default:
		return fmt.Errorf("a setting of type %s cannot be given as text", v.Type())
	}
	return nil
}

func setInt(v reflect.Value, text string) error {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration like 250ms, 5s or 72h", text)
		}
		v.SetInt(int64(d))
		return nil
	}
	n, err := strconv.ParseInt(text, 10, v.Type().Bits())
	if err != nil {
		return fmt.Errorf("%q is not a whole number that fits", text)
	}
	v.SetInt(n)
	return nil
}

func setSlice(v reflect.Value, items []string) error {
	s := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if err := set(s.Index(i), item); err != nil {
			return err
		}
	}
	v.Set(s)
	return nil
}

func setPairs(v reflect.Value, pairs []string) error {
	m := reflect.MakeMapWithSize(v.Type(), len(pairs))
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return fmt.Errorf("%q is not NAME=VALUE", pair)
		}
		if err := setPair(m, strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	v.Set(m)
	return nil
}

func setPair(m reflect.Value, key, text string) error {
	k := reflect.New(m.Type().Key()).Elem()
	k.SetString(key)
	if m.MapIndex(k).IsValid() {
		return fmt.Errorf("%q is given twice", key)
	}
	value := reflect.New(m.Type().Elem()).Elem()
	if err := set(value, text); err != nil {
		return err
	}
	m.SetMapIndex(k, value)
	return nil
}

func splitList(text string) []string {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// format is the inverse of set.
func format(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err == nil {
			return string(text)
		}
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		return formatDuration(time.Duration(v.Int()))
	case v.Kind() == reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = format(v.Index(i))
		}
		return strings.Join(items, ",")
	case v.Kind() == reflect.Map:
		pairs := pairsOf(v)
		items := make([]string, 0, len(pairs))
		for _, key := range slices.Sorted(maps.Keys(pairs)) {
			items = append(items, key+"="+pairs[key])
		}
		return strings.Join(items, ",")
	}
	return fmt.Sprint(v.Interface())
}

func pairsOf(v reflect.Value) map[string]string {
	pairs := make(map[string]string, v.Len())
	for it := v.MapRange(); it.Next(); {
		pairs[fmt.Sprint(it.Key().Interface())] = format(it.Value())
	}
	return pairs
}

// formatDuration writes 72h where time.Duration writes 72h0m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
