package pack

import (
	"reflect"
	"regexp"
	"strings"

	"github.com/nbpack/nbpack/internal/config"
)

// recipeVariable is how a value names a variable.
var recipeVariable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// variableName is the whole of such a name.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand puts the values of variables into all values of the recipe, but not into
// keys. It works on what was parsed: no value can become anything but text.
func (r *Recipe) expand(set map[string]string) error {
	e := &expander{values: merged(r.Variables, set), used: map[string]bool{}}
	for _, name := range sortedKeys(r.Variables) {
		e.used[name] = true
		if !variableName.MatchString(name) {
			e.fail(r.At("variables", name), "a variable has letters, digits and _ in its name")
		}
	}
	e.walk(r.Place, reflect.ValueOf(r).Elem())
	if err := e.errs.Err(); err != nil {
		return err
	}
	for _, name := range sortedKeys(set) {
		if !e.used[name] {
			return badOption("", "--set %s: the recipe %q has no such variable", name, r.file)
		}
	}
	return nil
}

type expander struct {
	values map[string]string
	used   map[string]bool
	errs   config.Errors
}

func (e *expander) fail(p config.Place, format string, a ...any) {
	e.errs = append(e.errs, p.Errorf(format, a...))
}

// walk goes through what config.Decode has filled.
func (e *expander) walk(p config.Place, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			e.walk(p, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			e.walk(p.At(i), v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			s := e.text(p.At(key.String()), v.MapIndex(key).String())
			v.SetMapIndex(key, reflect.ValueOf(s))
		}
	case reflect.Struct:
		e.fields(p, v)
	case reflect.String:
		v.SetString(e.text(p, v.String()))
	}
}

// fields goes through a struct. Variables themselves are not expanded.
func (e *expander) fields(p config.Place, v reflect.Value) {
	for i := range v.NumField() {
		tag, ok := v.Type().Field(i).Tag.Lookup("yaml")
		key, _, _ := strings.Cut(tag, ",")
		switch {
		case !ok || key == "-" || key == "variables":
		case key == "":
			e.walk(p, v.Field(i)) // inline
		default:
			e.walk(p.At(key), v.Field(i))
		}
	}
}

func (e *expander) text(p config.Place, s string) string {
	out := recipeVariable.ReplaceAllStringFunc(s, func(ref string) string {
		name := strings.TrimSuffix(strings.TrimPrefix(ref, "${"), "}")
		value, ok := e.values[name]
		if !ok {
			e.fail(p, "there is no variable %q; give it with --set %s=VALUE, or under variables", name, name)
		}
		e.used[name] = true
		return value
	})
	if strings.Contains(recipeVariable.ReplaceAllString(s, ""), "${") {
		e.fail(p, "%q has a ${ that begins no ${NAME}", s)
	}
	return out
}
