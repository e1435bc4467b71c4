/* template_eval.c - names, calls and expressions of a running template; text. */
#include "text/template_eval.h"

#include <string.h>

enum { MAX_ARGUMENTS = 64 };

static elm_tv call_macro(elm_trender *r, const elm_tnode *m, elm_tscope *outer,
                         const elm_targs *args, elm_tv caller);

/* ---- scopes ---- */

elm_tscope *elm_te_push(elm_trender *r, elm_tscope *outer) {
    elm_tscope *s = elm_tr_alloc(r, sizeof *s);
    if (r->status != ELM_OK) return outer;
    s->outer = outer;
    s->vars = elm_tv_new_dict(r);
    return s;
}

void elm_te_bind(elm_trender *r, elm_tstr name, elm_tv value) {
    if (r->status == ELM_OK)
        elm_tv_set(r, ((elm_tscope *)r->scope)->vars, elm_tv_string(name), value);
}

static const char *name_text(elm_trender *r, elm_tstr name) {
    char *copy = elm_tr_alloc(r, name.size + 1);
    if (r->status != ELM_OK || !copy) return "";
    memcpy(copy, name.data, name.size);
    copy[name.size] = 0;
    return copy;
}

static elm_tv lookup(elm_trender *r, elm_tstr name) {
    for (elm_tscope *s = r->scope; s; s = s->outer) {
        const elm_tv *v = elm_tv_get(s->vars.as.dict, elm_tv_string(name));
        if (v) return *v;
    }
    for (int f = 0; f < ELM_N_FUNCTIONS; f++) {
        if (elm_tv_is_text(elm_tv_string(name), elm_tv_function_names[f])) {
            return (elm_tv){.type = ELM_TV_FUNCTION, .as.function = f};
        }
    }
    /* The blocks of the template, of which none can be called: no template extends this one. */
    if (elm_tv_is_text(elm_tv_string(name), "self")) {
        elm_tv blocks = elm_tv_new_dict(r);
        if (r->status == ELM_OK) blocks.type = ELM_TV_NAMESPACE;
        return blocks;
    }
    return elm_tv_undefined(name_text(r, name));
}

/* ---- calls ---- */

/* The arguments of `*list` and `**dict`, behind those that are written out. */
static void collect_rest(elm_trender *r, const elm_tnode *n, elm_tv storage[MAX_ARGUMENTS],
                         elm_targs *out) {
    bool is_call = n->kind == ELM_TN_CALL || n->kind == ELM_TN_FILTER || n->kind == ELM_TN_TEST;
    const elm_tlist *list = is_call && n->b ? elm_tv_iterate(r, elm_te_eval(r, n->b)) : NULL;
    for (uint32_t i = 0; list && r->status == ELM_OK && i < list->n; i++) {
        if (out->n == MAX_ARGUMENTS)
            elm_tr_fail(r, ELM_LIMIT, "a call has more than %d arguments", MAX_ARGUMENTS);
        else
            storage[out->n++] = list->items[i];
    }
    if (!is_call || !n->c || r->status != ELM_OK) return;
    elm_tv more = elm_te_eval(r, n->c), named = {.type = ELM_TV_DICT, .as.dict = out->named};
    if (more.type != ELM_TV_DICT) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "** takes a dict, not %s", elm_tv_type_name(more));
        return;
    }
    if (!out->named) named = elm_tv_new_dict(r);
    for (uint32_t i = 0; i < more.as.dict->n && r->status == ELM_OK; i++)
        elm_tv_set(r, named, more.as.dict->keys[i], more.as.dict->values[i]);
    if (r->status == ELM_OK) out->named = named.as.dict;
}

static bool collect(elm_trender *r, const elm_tnode *n, elm_tv storage[MAX_ARGUMENTS],
                    elm_targs *out) {
    uint32_t n_positional = n->list.n - n->n_names;
    *out = (elm_targs){storage, n_positional, NULL};
    if (n->list.n > MAX_ARGUMENTS)
        elm_tr_fail(r, ELM_LIMIT, "a call has more than %d arguments", MAX_ARGUMENTS);
    for (uint32_t i = 0; i < n_positional && r->status == ELM_OK; i++)
        storage[i] = elm_te_eval(r, n->list.items[i]);
    if (n->n_names > 0 && r->status == ELM_OK) {
        elm_tv named = elm_tv_new_dict(r);
        for (uint32_t i = 0; i < n->n_names && r->status == ELM_OK; i++) {
            elm_tv value = elm_te_eval(r, n->list.items[n_positional + i]);
            elm_tv_set(r, named, elm_tv_string(n->names[i]), value);
        }
        out->named = r->status == ELM_OK ? named.as.dict : NULL;
    }
    collect_rest(r, n, storage, out);
    return r->status == ELM_OK;
}

elm_tv elm_te_call(elm_trender *r, const elm_tnode *n, elm_tv caller) {
    elm_tv storage[MAX_ARGUMENTS], f = elm_te_eval(r, n->a);
    elm_targs args;
    if (!collect(r, n, storage, &args)) return elm_tv_none();
    r->line = n->line;
    switch (f.type) {
    case ELM_TV_FUNCTION:
        return elm_tv_function(r, f.as.function, &args);
    case ELM_TV_BOUND:
        return elm_tv_method(r, *f.as.bound->self, f.as.bound->name, &args);
    case ELM_TV_JOINER:
        return elm_tv_joiner_call(r, f, &args);
    case ELM_TV_MACRO:
        return call_macro(r, f.as.macro, f.scope, &args, caller);
    case ELM_TV_LOOP:
        return elm_te_loop_again(r, f.as.loop, &args);
    case ELM_TV_UNDEFINED:
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "'%s' is undefined", f.as.undefined);
        break;
    default:
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s cannot be called", elm_tv_type_name(f));
        break;
    }
    return elm_tv_none();
}

/* Named arguments that are no parameter: `kwargs`, or a mistake. */
static void bind_kwargs(elm_trender *r, const elm_tnode *m, const elm_tdict *named) {
    elm_tv extra = elm_tv_new_dict(r);
    for (uint32_t i = 0; named && i < named->n && r->status == ELM_OK; i++) {
        bool known = false;
        for (uint32_t k = 0; k < m->n_names && !known; k++)
            known = elm_tv_equal(named->keys[i], elm_tv_string(m->names[k]));
        if (known) continue;
        if (!(m->uses & ELM_USES_KWARGS))
            elm_tr_fail(r, ELM_INVALID_ARGUMENT, "a macro has no such named argument");
        elm_tv_set(r, extra, named->keys[i], named->values[i]);
    }
    if (m->uses & ELM_USES_KWARGS) elm_te_bind(r, elm_tv_literal("kwargs").as.string, extra);
}

static void bind_varargs(elm_trender *r, const elm_tnode *m, const elm_targs *args) {
    elm_tv extra = elm_tv_new_list(r, true);
    for (uint32_t i = m->n_names; i < args->n && r->status == ELM_OK; i++)
        elm_tv_append(r, extra, args->items[i]);
    if (m->uses & ELM_USES_VARARGS)
        elm_te_bind(r, elm_tv_literal("varargs").as.string, extra);
    else if (args->n > m->n_names)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%u arguments for a macro of %u", args->n, m->n_names);
}

static elm_tv call_macro(elm_trender *r, const elm_tnode *m, elm_tscope *outer,
                         const elm_targs *args, elm_tv caller) {
    elm_tscope *before = r->scope;
    if (r->status != ELM_OK) return elm_tv_none();
    r->scope = elm_te_push(r, outer);
    for (uint32_t i = 0; i < m->n_names && r->status == ELM_OK; i++) {
        const elm_tv *named =
            args->named ? elm_tv_get(args->named, elm_tv_string(m->names[i])) : NULL;
        if (named && i < args->n)
            elm_tr_fail(r, ELM_INVALID_ARGUMENT, "a macro got an argument twice");
        elm_tv value = i < args->n        ? args->items[i]
                       : named            ? *named
                       : m->list.items[i] ? elm_te_eval(r, m->list.items[i])
                                          : elm_tv_undefined(name_text(r, m->names[i]));
        elm_te_bind(r, m->names[i], value);
    }
    if (m->uses & ELM_USES_VARARGS || args->n > m->n_names) bind_varargs(r, m, args);
    if (m->uses & ELM_USES_KWARGS || args->named) bind_kwargs(r, m, args->named);
    if (m->uses & ELM_USES_CALLER)
        elm_te_bind(r, elm_tv_literal("caller").as.string,
                    caller.type == ELM_TV_MACRO ? caller : elm_tv_undefined("caller"));
    else if (caller.type == ELM_TV_MACRO)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "the macro of a call block has no use for a caller");
    elm_tv out = elm_te_captured(r, &m->body);
    r->scope = before;
    return out;
}

/* ---- expressions ---- */

static elm_tv binary(elm_trender *r, const elm_tnode *n) {
    elm_tv a = elm_te_eval(r, n->a);
    if (n->op == ELM_OP_OR) return elm_tv_truth(a) ? a : elm_te_eval(r, n->b);
    if (n->op == ELM_OP_AND) return elm_tv_truth(a) ? elm_te_eval(r, n->b) : a;
    elm_tv b = elm_te_eval(r, n->b);
    r->line = n->line;
    return r->status == ELM_OK ? elm_tv_binary(r, (int)n->op, a, b) : elm_tv_none();
}

static elm_tv compare(elm_trender *r, const elm_tnode *n) {
    elm_tv left = elm_te_eval(r, n->list.items[0]);
    for (uint32_t i = 1; i < n->list.n && r->status == ELM_OK; i++) {
        elm_tv right = elm_te_eval(r, n->list.items[i]);
        r->line = n->line;
        if (r->status != ELM_OK || !elm_tv_compare_by(r, n->ops[i - 1], left, right))
            return elm_tv_bool(false);
        left = right;
    }
    return elm_tv_bool(true);
}

static elm_tv slice(elm_trender *r, const elm_tnode *n) {
    elm_tv v = elm_te_eval(r, n->a), bounds[3];
    for (int i = 0; i < 3; i++)
        bounds[i] = n->list.items[i] ? elm_te_eval(r, n->list.items[i]) : elm_tv_none();
    r->line = n->line;
    return r->status == ELM_OK ? elm_tv_slice(r, v, bounds[0], bounds[1], bounds[2]) : v;
}

elm_tv elm_te_filter(elm_trender *r, const elm_tnode *n, elm_tv v) {
    elm_tv storage[MAX_ARGUMENTS];
    elm_targs args;
    if (!collect(r, n, storage, &args)) return elm_tv_none();
    r->line = n->line;
    return elm_tv_filter(r, n->text, v, &args);
}

static elm_tv test(elm_trender *r, const elm_tnode *n) {
    elm_tv storage[MAX_ARGUMENTS], v = elm_te_eval(r, n->a);
    elm_targs args;
    if (!collect(r, n, storage, &args)) return elm_tv_none();
    r->line = n->line;
    return elm_tv_bool(elm_tv_test(r, n->text, v, &args) != n->flag);
}

static elm_tv collection(elm_trender *r, const elm_tnode *n) {
    elm_tv out =
        n->kind == ELM_TN_DICT ? elm_tv_new_dict(r) : elm_tv_new_list(r, n->kind == ELM_TN_TUPLE);
    for (uint32_t i = 0; i < n->list.n && r->status == ELM_OK; i++) {
        elm_tv item = elm_te_eval(r, n->list.items[i]);
        if (n->kind == ELM_TN_DICT)
            elm_tv_set(r, out, item, elm_te_eval(r, n->list.items[++i]));
        else
            elm_tv_append(r, out, item);
    }
    return out;
}

static elm_tv eval_node(elm_trender *r, const elm_tnode *n) {
    switch (n->kind) {
    case ELM_TN_LITERAL:
        return n->value;
    case ELM_TN_NAME:
        return lookup(r, n->text);
    case ELM_TN_ATTR: {
        elm_tv object = elm_te_eval(r, n->a);
        r->line = n->line;
        return elm_tv_attribute(r, object, elm_tv_string(n->text), true);
    }
    case ELM_TN_INDEX: {
        elm_tv object = elm_te_eval(r, n->a), key = elm_te_eval(r, n->b);
        r->line = n->line;
        return elm_tv_attribute(r, object, key, false);
    }
    case ELM_TN_SLICE:
        return slice(r, n);
    case ELM_TN_CALL:
        return elm_te_call(r, n, elm_tv_none());
    case ELM_TN_FILTER:
        return elm_te_filter(r, n, elm_te_eval(r, n->a));
    case ELM_TN_TEST:
        return test(r, n);
    case ELM_TN_BINARY:
        return binary(r, n);
    case ELM_TN_COMPARE:
        return compare(r, n);
    case ELM_TN_NOT:
        return elm_tv_bool(!elm_tv_truth(elm_te_eval(r, n->a)));
    case ELM_TN_NEGATE:
        return elm_tv_negate(r, elm_te_eval(r, n->a));
    case ELM_TN_PLUS:
        return elm_te_eval(r, n->a);
    case ELM_TN_CONDITION:
        if (elm_tv_truth(elm_te_eval(r, n->b))) return elm_te_eval(r, n->a);
        return n->c ? elm_te_eval(r, n->c) : elm_tv_undefined("the else of an inline if");
    default:
        return collection(r, n);
    }
}

elm_tv elm_te_eval(elm_trender *r, const elm_tnode *n) {
    if (!elm_tr_step(r)) return elm_tv_none();
    if (r->depth >= ELM_TE_MAX_DEPTH) {
        elm_tr_fail(r, ELM_LIMIT, "an expression or its macros nest too deep");
        return elm_tv_none();
    }
    r->depth++;
    elm_tv v = eval_node(r, n);
    r->depth--;
    return v;
}
