/* template_run.c - statements of a template, its output, and the calls; text.
 *
 * Output goes to the parts, byte by byte with its origin, or to a list while a block is captured. */
#include "text/template_eval.h"

#include <string.h>

/* No mark and release: what a loop or a macro leaves behind is bounded by this. */
enum { MAX_ARENA_BYTES = 64 << 20 };

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
elm_tv elm_te_captured(elm_trender *r, const elm_tnodes *body) {
    elm_tv before = r->capture, list = elm_tv_new_list(r, false);
    if (r->status != ELM_OK) return elm_tv_none();
    r->capture = list;
    elm_te_run(r, body);
    r->capture = before;
    return elm_tv_join(r, list.as.list, elm_tv_literal("").as.string);
}

static void loop_over(elm_trender *r, const elm_tnode *n, elm_tv what, elm_tscope *outer,
                      uint32_t depth);

/* loop(items) of a recursive loop. */
elm_tv elm_te_loop_again(elm_trender *r, const elm_tloop *l, const elm_targs *args) {
    if (!l->node->flag || args->n != 1) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT,
                    "only a recursive loop is called, with what it goes over");
        return elm_tv_none();
    }
    elm_tv before = r->capture, list = elm_tv_new_list(r, false);
    if (r->status != ELM_OK || r->depth >= ELM_TE_MAX_DEPTH) {
        elm_tr_fail(r, ELM_LIMIT, "a recursive loop nests too deep");
        return elm_tv_none();
    }
    elm_tscope *here = r->scope;
    r->capture = list;
    r->depth++;
    loop_over(r, l->node, args->items[0], l->scope, l->depth + 1);
    r->depth--;
    r->capture = before;
    r->scope = here;
    return elm_tv_join(r, list.as.list, elm_tv_literal("").as.string);
}

/* ---- statements ---- */

static void assign(elm_trender *r, const elm_tnodes *targets, elm_tv value);

static void assign_one(elm_trender *r, const elm_tnode *target, elm_tv value) {
    if (target->kind == ELM_TN_NAME) {
        elm_te_bind(r, target->text, value);
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
    elm_tv object = elm_te_eval(r, target->a);
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

/* One scope serves all rounds, emptied before each: a loop takes no memory of its own a round. */
static void loop_over(elm_trender *r, const elm_tnode *n, elm_tv what, elm_tscope *outer,
                      uint32_t depth) {
    elm_tscope *inner = elm_te_push(r, outer);
    elm_tloop *state = elm_tr_alloc(r, sizeof *state);
    if (r->status != ELM_OK) return;
    *state = (elm_tloop){.items = elm_tv_items(r, what),
                         .depth = depth,
                         .node = n,
                         .scope = outer,
                         .changed = elm_tv_undefined("")};
    if (n->b && r->status == ELM_OK) {
        state->source = state->items;
        state->chosen = elm_tv_new_list(r, false);
        state->filter_scope = elm_te_push(r, outer);
        state->items = (elm_titems){.list = state->chosen.as.list};
    }
    r->scope = inner;
    for (; elm_te_loop_reach(r, state, state->index + 1); state->index++) {
        elm_tv self = {.type = ELM_TV_LOOP, .as.loop = state};
        inner->vars.as.dict->n = 0;
        r->scope = inner;
        elm_te_bind(r, elm_tv_literal("loop").as.string, self);
        assign(r, &n->list, elm_titem(&state->items, state->index));
        elm_te_run(r, &n->body);
        bool stop = r->breaking;
        r->breaking = r->continuing = false;
        if (stop || !elm_tr_step(r)) break;
    }
    r->scope = outer;
    if (r->status == ELM_OK && state->items.n == 0) elm_te_run(r, &n->other);
}

bool elm_te_loop_reach(elm_trender *r, elm_tloop *l, int64_t n) {
    elm_tscope *here = r->scope, *inner = l->filter_scope;
    while (inner && r->status == ELM_OK && l->items.n < n && l->taken < l->source.n) {
        elm_tv item = elm_titem(&l->source, l->taken++);
        inner->vars.as.dict->n = 0;
        r->scope = inner;
        assign(r, &l->node->list, item);
        if (!elm_tv_truth(elm_te_eval(r, l->node->b)) || r->status != ELM_OK) continue;
        elm_tv_append(r, l->chosen, item);
        l->items.n++;
    }
    r->scope = here;
    return r->status == ELM_OK && l->items.n >= n;
}

static void with(elm_trender *r, const elm_tnode *n) {
    elm_tscope *outer = r->scope, *inner = elm_te_push(r, outer);
    for (uint32_t i = 0; i < n->list.n && r->status == ELM_OK; i++) {
        r->scope = outer; /* the values do not see each other */
        elm_tv value = elm_te_eval(r, n->other.items[i]);
        r->scope = inner;
        assign_one(r, n->list.items[i], value);
    }
    r->scope = inner;
    elm_te_run(r, &n->body);
    r->scope = outer;
}

static elm_tv through_filters(elm_trender *r, const elm_tnode *f, elm_tv v) {
    if (!f) return v;
    return elm_te_filter(r, f, through_filters(r, f->a, v));
}

static elm_tv macro_value(const elm_tnode *n, elm_tscope *s) {
    elm_tv v = {.type = ELM_TV_MACRO, .as.macro = n};
    v.scope = s;
    return v;
}

/* A body in a scope of its own, captured. */
static elm_tv captured_scope(elm_trender *r, const elm_tnodes *body) {
    elm_tscope *outer = r->scope;
    r->scope = elm_te_push(r, outer);
    elm_tv out = elm_te_captured(r, body);
    r->scope = outer;
    return out;
}

static void statement(elm_trender *r, const elm_tnode *n) {
    switch (n->kind) {
    case ELM_TN_TEXT:
        write_piece(r, n->value.as.string);
        return;
    case ELM_TN_OUTPUT:
        write_piece(r, elm_tv_str(r, elm_te_eval(r, n->a)));
        return;
    case ELM_TN_IF:
        while (n && n->a && !elm_tv_truth(elm_te_eval(r, n->a)) && r->status == ELM_OK) n = n->b;
        if (n && r->status == ELM_OK) elm_te_run(r, &n->body);
        return;
    case ELM_TN_FOR:
        loop_over(r, n, elm_te_eval(r, n->a), r->scope, 1);
        return;
    case ELM_TN_WITH:
        with(r, n);
        return;
    case ELM_TN_SET:
        assign(r, &n->list, elm_te_eval(r, n->a));
        return;
    case ELM_TN_SET_BLOCK:
        assign(r, &n->list, through_filters(r, n->a, captured_scope(r, &n->body)));
        return;
    case ELM_TN_MACRO:
        elm_te_bind(r, n->text, macro_value(n, r->scope));
        return;
    case ELM_TN_CALL_BLOCK:
        write_piece(r, elm_tv_str(r, elm_te_call(r, n->a, macro_value(n, r->scope))));
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
        elm_te_run(r, &n->body);
        return;
    default:
        elm_tr_fail(r, ELM_INTERNAL, "a statement of an unknown kind");
        return;
    }
}

void elm_te_run(elm_trender *r, const elm_tnodes *body) {
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
    elm_tscope *top = elm_te_push(&r, NULL);
    r.scope = top;
    for (uint32_t i = 0;
         context && context->type == ELM_JSON_OBJECT && i < context->count && r.status == ELM_OK;
         i++) {
        const elm_json *m = &context->as.items[i];
        elm_part_origin origin = ends_with_token(m->key) ? ELM_PART_TEMPLATE : ELM_PART_INPUT;
        elm_te_bind(&r, elm_tv_text(m->key, ELM_PART_INPUT).as.string,
                    elm_tv_from_json(&r, m, origin));
    }
    r.scope = elm_te_push(
        &r, top); /* what the template sets hides the variables, and does not change them */
    elm_te_run(&r, &t->body);
    elm_arena_free(&arena);
    ELM_TRY(r.status);
    return elm_parts_check(out, "the rendered template", err);
}
