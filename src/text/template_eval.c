/* template_eval.c - running a parsed template; text.
 *
 * Scopes are chains of dictionaries: loops, macros and blocks open one, `if` does not, and `set`
 * writes into the innermost. Output goes to the parts, byte by byte with its origin, or to a list
 * while a block is captured. */
#include "text/template_ast.h"

#include <string.h>

/* No mark and release: what a loop or a macro leaves behind is bounded by this. */
enum {
    MAX_ARENA_BYTES = 64 << 20,
    MAX_ARGUMENTS = 64,
    MAX_EVAL_DEPTH = 2 * ELM_TEMPLATE_MAX_DEPTH
};

typedef struct scope {
    struct scope *outer;
    elm_tv vars; /* dict */
} scope;

static elm_tv eval(elm_trender *r, const elm_tnode *n);
static void run(elm_trender *r, const elm_tnodes *body);
static elm_tv call_macro(elm_trender *r, const elm_tnode *m, scope *outer, const elm_targs *args,
                         elm_tv caller);
static elm_tv call_loop(elm_trender *r, const elm_tloop *l, const elm_targs *args);

/* ---- scopes ---- */

static scope *push(elm_trender *r, scope *outer) {
    scope *s = elm_tr_alloc(r, sizeof *s);
    if (r->status != ELM_OK) return outer;
    s->outer = outer;
    s->vars = elm_tv_new_dict(r);
    return s;
}

static void bind(elm_trender *r, elm_tstr name, elm_tv value) {
    if (r->status == ELM_OK) elm_tv_set(r, ((scope *)r->scope)->vars, elm_tv_string(name), value);
}

static const char *name_text(elm_trender *r, elm_tstr name) {
    char *copy = elm_tr_alloc(r, name.size + 1);
    if (r->status != ELM_OK || !copy) return "";
    memcpy(copy, name.data, name.size);
    copy[name.size] = 0;
    return copy;
}

static elm_tv lookup(elm_trender *r, elm_tstr name) {
    for (scope *s = r->scope; s; s = s->outer) {
        const elm_tv *v = elm_tv_get(s->vars.as.dict, elm_tv_string(name));
        if (v) return *v;
    }
    for (int f = 0; f < ELM_N_FUNCTIONS; f++) {
        if (elm_tv_is_text(elm_tv_string(name), elm_tv_function_names[f])) {
            return (elm_tv){.type = ELM_TV_FUNCTION, .as.function = f};
        }
    }
    return elm_tv_undefined(name_text(r, name));
}

/* ---- output ---- */

static void write_piece(elm_trender *r, elm_tstr s) {
    if (s.size == 0 || r->status != ELM_OK) return;
    if (r->capture.type == ELM_TV_LIST) {
        elm_tv_append(r, r->capture, elm_tv_string(s));
        return;
    }
    if (r->out->text.size + s.size > ELM_TEMPLATE_MAX_OUTPUT_BYTES) {
        elm_tr_fail(r, ELM_LIMIT, "its output is longer than %d bytes",
                    ELM_TEMPLATE_MAX_OUTPUT_BYTES);
        return;
    }
    for (uint32_t at = 0; at < s.size;) {
        uint32_t end = s.map ? at + 1 : s.size;
        while (s.map && end < s.size && s.map[end] == s.map[at]) end++;
        elm_parts_append(r->out, elm_span_of(s.data + at, end - at),
                         (elm_part_origin)(s.map ? s.map[at] : s.origin));
        at = end;
    }
}

/* Runs a body with its output in a string. */
static elm_tv captured(elm_trender *r, const elm_tnodes *body) {
    elm_tv before = r->capture, list = elm_tv_new_list(r, false);
    if (r->status != ELM_OK) return elm_tv_none();
    r->capture = list;
    run(r, body);
    r->capture = before;
    return elm_tv_join(r, list.as.list, elm_tv_literal("").as.string);
}

/* ---- calls ---- */

/* The arguments of `*list` and `**dict`, behind those that are written out. */
static void collect_rest(elm_trender *r, const elm_tnode *n, elm_tv storage[MAX_ARGUMENTS],
                         elm_targs *out) {
    bool is_call = n->kind == ELM_TN_CALL || n->kind == ELM_TN_FILTER || n->kind == ELM_TN_TEST;
    const elm_tlist *list = is_call && n->b ? elm_tv_iterate(r, eval(r, n->b)) : NULL;
    for (uint32_t i = 0; list && r->status == ELM_OK && i < list->n; i++) {
        if (out->n == MAX_ARGUMENTS)
            elm_tr_fail(r, ELM_LIMIT, "a call has more than %d arguments", MAX_ARGUMENTS);
        else
            storage[out->n++] = list->items[i];
    }
    if (!is_call || !n->c || r->status != ELM_OK) return;
    elm_tv more = eval(r, n->c), named = {.type = ELM_TV_DICT, .as.dict = out->named};
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
        storage[i] = eval(r, n->list.items[i]);
    if (n->n_names > 0 && r->status == ELM_OK) {
        elm_tv named = elm_tv_new_dict(r);
        for (uint32_t i = 0; i < n->n_names && r->status == ELM_OK; i++) {
            elm_tv value = eval(r, n->list.items[n_positional + i]);
            elm_tv_set(r, named, elm_tv_string(n->names[i]), value);
        }
        out->named = r->status == ELM_OK ? named.as.dict : NULL;
    }
    collect_rest(r, n, storage, out);
    return r->status == ELM_OK;
}

static elm_tv call(elm_trender *r, const elm_tnode *n, elm_tv caller) {
    elm_tv storage[MAX_ARGUMENTS], f = eval(r, n->a);
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
        return call_loop(r, f.as.loop, &args);
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
    if (m->uses & ELM_USES_KWARGS) bind(r, elm_tv_literal("kwargs").as.string, extra);
}

static void bind_varargs(elm_trender *r, const elm_tnode *m, const elm_targs *args) {
    elm_tv extra = elm_tv_new_list(r, true);
    for (uint32_t i = m->n_names; i < args->n && r->status == ELM_OK; i++)
        elm_tv_append(r, extra, args->items[i]);
    if (m->uses & ELM_USES_VARARGS)
        bind(r, elm_tv_literal("varargs").as.string, extra);
    else if (args->n > m->n_names)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%u arguments for a macro of %u", args->n, m->n_names);
}

static elm_tv call_macro(elm_trender *r, const elm_tnode *m, scope *outer, const elm_targs *args,
                         elm_tv caller) {
    scope *before = r->scope;
    if (r->status != ELM_OK) return elm_tv_none();
    r->scope = push(r, outer);
    for (uint32_t i = 0; i < m->n_names && r->status == ELM_OK; i++) {
        const elm_tv *named =
            args->named ? elm_tv_get(args->named, elm_tv_string(m->names[i])) : NULL;
        if (named && i < args->n)
            elm_tr_fail(r, ELM_INVALID_ARGUMENT, "a macro got an argument twice");
        elm_tv value = i < args->n        ? args->items[i]
                       : named            ? *named
                       : m->list.items[i] ? eval(r, m->list.items[i])
                                          : elm_tv_undefined(name_text(r, m->names[i]));
        bind(r, m->names[i], value);
    }
    if (m->uses & ELM_USES_VARARGS || args->n > m->n_names) bind_varargs(r, m, args);
    if (m->uses & ELM_USES_KWARGS || args->named) bind_kwargs(r, m, args->named);
    if (m->uses & ELM_USES_CALLER)
        bind(r, elm_tv_literal("caller").as.string,
             caller.type == ELM_TV_MACRO ? caller : elm_tv_undefined("caller"));
    else if (caller.type == ELM_TV_MACRO)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "the macro of a call block has no use for a caller");
    elm_tv out = captured(r, &m->body);
    r->scope = before;
    return out;
}

static void loop_over(elm_trender *r, const elm_tnode *n, elm_tv what, scope *outer,
                      uint32_t depth);

/* loop(items) of a recursive loop. */
static elm_tv call_loop(elm_trender *r, const elm_tloop *l, const elm_targs *args) {
    if (!l->node || args->n != 1) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT,
                    "only a recursive loop is called, with what it goes over");
        return elm_tv_none();
    }
    elm_tv before = r->capture, list = elm_tv_new_list(r, false);
    if (r->status != ELM_OK || r->depth >= MAX_EVAL_DEPTH) {
        elm_tr_fail(r, ELM_LIMIT, "a recursive loop nests too deep");
        return elm_tv_none();
    }
    scope *here = r->scope;
    r->capture = list;
    r->depth++;
    loop_over(r, l->node, args->items[0], l->scope, l->depth + 1);
    r->depth--;
    r->capture = before;
    r->scope = here;
    return elm_tv_join(r, list.as.list, elm_tv_literal("").as.string);
}

/* ---- expressions ---- */

static elm_tv binary(elm_trender *r, const elm_tnode *n) {
    elm_tv a = eval(r, n->a);
    if (n->op == ELM_OP_OR) return elm_tv_truth(a) ? a : eval(r, n->b);
    if (n->op == ELM_OP_AND) return elm_tv_truth(a) ? eval(r, n->b) : a;
    elm_tv b = eval(r, n->b);
    r->line = n->line;
    return r->status == ELM_OK ? elm_tv_binary(r, (int)n->op, a, b) : elm_tv_none();
}

static elm_tv compare(elm_trender *r, const elm_tnode *n) {
    elm_tv left = eval(r, n->list.items[0]);
    for (uint32_t i = 1; i < n->list.n && r->status == ELM_OK; i++) {
        elm_tv right = eval(r, n->list.items[i]);
        r->line = n->line;
        if (r->status != ELM_OK || !elm_tv_compare_by(r, n->ops[i - 1], left, right))
            return elm_tv_bool(false);
        left = right;
    }
    return elm_tv_bool(true);
}

static elm_tv slice(elm_trender *r, const elm_tnode *n) {
    elm_tv v = eval(r, n->a), bounds[3];
    for (int i = 0; i < 3; i++)
        bounds[i] = n->list.items[i] ? eval(r, n->list.items[i]) : elm_tv_none();
    r->line = n->line;
    return r->status == ELM_OK ? elm_tv_slice(r, v, bounds[0], bounds[1], bounds[2]) : v;
}

static elm_tv filter_value(elm_trender *r, const elm_tnode *n, elm_tv v) {
    elm_tv storage[MAX_ARGUMENTS];
    elm_targs args;
    if (!collect(r, n, storage, &args)) return elm_tv_none();
    r->line = n->line;
    return elm_tv_filter(r, n->text, v, &args);
}

static elm_tv test(elm_trender *r, const elm_tnode *n) {
    elm_tv storage[MAX_ARGUMENTS], v = eval(r, n->a);
    elm_targs args;
    if (!collect(r, n, storage, &args)) return elm_tv_none();
    r->line = n->line;
    return elm_tv_bool(elm_tv_test(r, n->text, v, &args) != n->flag);
}

static elm_tv collection(elm_trender *r, const elm_tnode *n) {
    elm_tv out =
        n->kind == ELM_TN_DICT ? elm_tv_new_dict(r) : elm_tv_new_list(r, n->kind == ELM_TN_TUPLE);
    for (uint32_t i = 0; i < n->list.n && r->status == ELM_OK; i++) {
        elm_tv item = eval(r, n->list.items[i]);
        if (n->kind == ELM_TN_DICT)
            elm_tv_set(r, out, item, eval(r, n->list.items[++i]));
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
        elm_tv object = eval(r, n->a);
        r->line = n->line;
        return elm_tv_attribute(r, object, elm_tv_string(n->text), true);
    }
    case ELM_TN_INDEX: {
        elm_tv object = eval(r, n->a), key = eval(r, n->b);
        r->line = n->line;
        return elm_tv_attribute(r, object, key, false);
    }
    case ELM_TN_SLICE:
        return slice(r, n);
    case ELM_TN_CALL:
        return call(r, n, elm_tv_none());
    case ELM_TN_FILTER:
        return filter_value(r, n, eval(r, n->a));
    case ELM_TN_TEST:
        return test(r, n);
    case ELM_TN_BINARY:
        return binary(r, n);
    case ELM_TN_COMPARE:
        return compare(r, n);
    case ELM_TN_NOT:
        return elm_tv_bool(!elm_tv_truth(eval(r, n->a)));
    case ELM_TN_NEGATE:
        return elm_tv_negate(r, eval(r, n->a));
    case ELM_TN_PLUS:
        return eval(r, n->a);
    case ELM_TN_CONDITION:
        if (elm_tv_truth(eval(r, n->b))) return eval(r, n->a);
        return n->c ? eval(r, n->c) : elm_tv_undefined("the else of an inline if");
    default:
        return collection(r, n);
    }
}

static elm_tv eval(elm_trender *r, const elm_tnode *n) {
    if (!elm_tr_step(r)) return elm_tv_none();
    if (r->depth >= MAX_EVAL_DEPTH) {
        elm_tr_fail(r, ELM_LIMIT, "an expression or its macros nest too deep");
        return elm_tv_none();
    }
    r->depth++;
    elm_tv v = eval_node(r, n);
    r->depth--;
    return v;
}

/* ---- statements ---- */

static void assign(elm_trender *r, const elm_tnodes *targets, elm_tv value);

static void assign_one(elm_trender *r, const elm_tnode *target, elm_tv value) {
    if (target->kind == ELM_TN_NAME) {
        bind(r, target->text, value);
        return;
    }
    if (target->kind == ELM_TN_TUPLE) {
        elm_tlist *l = elm_tv_iterate(r, value);
        if (r->status == ELM_OK && l->n != target->list.n)
            elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%u values for %u names", l->n, target->list.n);
        for (uint32_t i = 0; i < target->list.n && r->status == ELM_OK; i++)
            assign_one(r, target->list.items[i], l->items[i]);
        return;
    }
    elm_tv object = eval(r, target->a);
    r->line = target->line;
    if (object.type != ELM_TV_NAMESPACE)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "only a namespace takes attributes");
    else if (target->text.data[0] == '_') /* as in transformers */
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "an attribute of a namespace begins with _");
    else
        elm_tv_set(r, object, elm_tv_string(target->text), value);
}

static void assign(elm_trender *r, const elm_tnodes *targets, elm_tv value) {
    if (targets->n == 1) {
        assign_one(r, targets->items[0], value);
        return;
    }
    elm_tnode tuple = {.kind = ELM_TN_TUPLE, .list = *targets};
    assign_one(r, &tuple, value);
}

/* The items that pass the loop's own `if`. */
static elm_tlist *chosen(elm_trender *r, const elm_tnode *n, const elm_titems *all, scope *inner) {
    elm_tv out = elm_tv_new_list(r, false);
    for (int64_t i = 0; i < all->n && r->status == ELM_OK; i++) {
        inner->vars.as.dict->n = 0;
        assign(r, &n->list, elm_titem(all, i));
        if (elm_tv_truth(eval(r, n->b))) elm_tv_append(r, out, elm_titem(all, i));
    }
    return out.as.list;
}

/* One scope serves all rounds, emptied before each: a loop takes no memory of its own a round. */
static void loop_over(elm_trender *r, const elm_tnode *n, elm_tv what, scope *outer,
                      uint32_t depth) {
    scope *inner = push(r, outer);
    elm_tloop *state = elm_tr_alloc(r, sizeof *state);
    if (r->status != ELM_OK) return;
    *state = (elm_tloop){.items = elm_tv_items(r, what),
                         .depth = depth,
                         .node = n->flag ? n : NULL,
                         .scope = outer,
                         .changed = elm_tv_undefined("")};
    r->scope = inner;
    if (r->status == ELM_OK && n->b) {
        elm_tlist *list = chosen(r, n, &state->items, inner);
        if (r->status == ELM_OK) state->items = (elm_titems){.list = list, .n = list->n};
    }
    for (; r->status == ELM_OK && state->index < state->items.n; state->index++) {
        elm_tv self = {.type = ELM_TV_LOOP, .as.loop = state};
        inner->vars.as.dict->n = 0;
        r->scope = inner;
        bind(r, elm_tv_literal("loop").as.string, self);
        assign(r, &n->list, elm_titem(&state->items, state->index));
        run(r, &n->body);
        bool stop = r->breaking;
        r->breaking = r->continuing = false;
        if (stop || !elm_tr_step(r)) break;
    }
    r->scope = outer;
    if (r->status == ELM_OK && state->items.n == 0) run(r, &n->other);
}

static void with(elm_trender *r, const elm_tnode *n) {
    scope *outer = r->scope, *inner = push(r, outer);
    for (uint32_t i = 0; i < n->list.n && r->status == ELM_OK; i++) {
        r->scope = outer; /* the values do not see each other */
        elm_tv value = eval(r, n->other.items[i]);
        r->scope = inner;
        assign_one(r, n->list.items[i], value);
    }
    r->scope = inner;
    run(r, &n->body);
    r->scope = outer;
}

static elm_tv through_filters(elm_trender *r, const elm_tnode *f, elm_tv v) {
    if (!f) return v;
    return filter_value(r, f, through_filters(r, f->a, v));
}

static elm_tv macro_value(const elm_tnode *n, scope *s) {
    elm_tv v = {.type = ELM_TV_MACRO, .as.macro = n};
    v.scope = s;
    return v;
}

/* A body in a scope of its own, captured. */
static elm_tv captured_scope(elm_trender *r, const elm_tnodes *body) {
    scope *outer = r->scope;
    r->scope = push(r, outer);
    elm_tv out = captured(r, body);
    r->scope = outer;
    return out;
}

static void statement(elm_trender *r, const elm_tnode *n) {
    switch (n->kind) {
    case ELM_TN_TEXT:
        write_piece(r, n->value.as.string);
        return;
    case ELM_TN_OUTPUT:
        write_piece(r, elm_tv_str(r, eval(r, n->a)));
        return;
    case ELM_TN_IF:
        while (n && n->a && !elm_tv_truth(eval(r, n->a)) && r->status == ELM_OK) n = n->b;
        if (n && r->status == ELM_OK) run(r, &n->body);
        return;
    case ELM_TN_FOR:
        loop_over(r, n, eval(r, n->a), r->scope, 1);
        return;
    case ELM_TN_WITH:
        with(r, n);
        return;
    case ELM_TN_SET:
        assign(r, &n->list, eval(r, n->a));
        return;
    case ELM_TN_SET_BLOCK:
        assign(r, &n->list, through_filters(r, n->a, captured_scope(r, &n->body)));
        return;
    case ELM_TN_MACRO:
        bind(r, n->text, macro_value(n, r->scope));
        return;
    case ELM_TN_CALL_BLOCK:
        write_piece(r, elm_tv_str(r, call(r, n->a, macro_value(n, r->scope))));
        return;
    case ELM_TN_FILTER_BLOCK:
        write_piece(r, elm_tv_str(r, through_filters(r, n->a, captured_scope(r, &n->body))));
        return;
    case ELM_TN_BREAK:
        r->breaking = true;
        return;
    case ELM_TN_CONTINUE:
        r->continuing = true;
        return;
    case ELM_TN_BLOCK:
        run(r, &n->body);
        return;
    default:
        elm_tr_fail(r, ELM_INTERNAL, "a statement of an unknown kind");
        return;
    }
}

static void run(elm_trender *r, const elm_tnodes *body) {
    for (uint32_t i = 0; i < body->n && !r->breaking && !r->continuing && elm_tr_step(r); i++) {
        r->line = body->items[i]->line;
        statement(r, body->items[i]);
    }
}

/* ---- the public calls ---- */

elm_status elm_template_parse(const elm_allocator *alloc, elm_span source, elm_template **out,
                              elm_error *err) {
    elm_template *t = NULL;
    *out = NULL;
    if (source.size > ELM_TEMPLATE_MAX_SOURCE_BYTES) {
        return elm_fail(err, ELM_LIMIT, "the chat template has %zu bytes; at most %d", source.size,
                        ELM_TEMPLATE_MAX_SOURCE_BYTES);
    }
    ELM_TRY(elm_alloc(alloc, sizeof *t, "a chat template", &t, err));
    t->alloc = alloc;
    elm_arena_init(&t->arena, alloc, 0);
    uint8_t *copy = elm_arena_alloc(&t->arena, source.size + 1, 1);
    elm_status status = copy ? ELM_OK : elm_fail_oom(err, source.size, "a chat template");
    size_t n = 0;
    for (size_t i = 0; status == ELM_OK && i < source.size;
         i++) { /* jinja2 reads every line end as \n */
        if (source.data[i] == '\r' && i + 1 < source.size && source.data[i + 1] == '\n') continue;
        copy[n++] = source.data[i] == '\r' ? '\n' : source.data[i];
    }
    if (status == ELM_OK) status = elm_template_parse_source(t, elm_span_of(copy, n), err);
    if (status != ELM_OK) {
        elm_template_free(t);
        return status;
    }
    *out = t;
    return ELM_OK;
}

void elm_template_free(elm_template *t) {
    if (!t) return;
    elm_arena_free(&t->arena);
    elm_free(t->alloc, t, sizeof *t);
}

static bool ends_with_token(elm_span key) {
    return key.size > 6 && memcmp(key.data + key.size - 6, "_token", 6) == 0;
}

elm_status elm_template_render(const elm_template *t, const elm_json *context,
                               const elm_template_options *options, elm_parts *out,
                               elm_error *err) {
    static const elm_template_options none = {0};
    const elm_template_options *o = options ? options : &none;
    elm_arena arena;
    elm_arena_init(&arena, t->alloc, MAX_ARENA_BYTES);
    elm_trender r = {
        .arena = &arena, .err = err, .out = out, .options = o, .capture = elm_tv_none()};
    r.fuel = o->fuel ? o->fuel : ELM_TEMPLATE_DEFAULT_FUEL;
    scope *top = push(&r, NULL);
    r.scope = top;
    for (uint32_t i = 0;
         context && context->type == ELM_JSON_OBJECT && i < context->count && r.status == ELM_OK;
         i++) {
        const elm_json *m = &context->as.items[i];
        elm_part_origin origin = ends_with_token(m->key) ? ELM_PART_TEMPLATE : ELM_PART_INPUT;
        bind(&r, elm_tv_text(m->key, ELM_PART_INPUT).as.string, elm_tv_from_json(&r, m, origin));
    }
    r.scope =
        push(&r, top); /* what the template sets hides the variables, and does not change them */
    run(&r, &t->body);
    elm_arena_free(&arena);
    ELM_TRY(r.status);
    return elm_parts_check(out, "the rendered template", err);
}
