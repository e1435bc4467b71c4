/* template_state.c - jinja2's cycler and joiner: values that remember how often they were asked;
 * text. */
#include "text/template_value.h"

static elm_tv refuse(elm_trender *r, const char *what) {
    elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s", what);
    return elm_tv_none();
}

static elm_tv new_state(elm_trender *r, elm_tv_type type, elm_tv given) {
    elm_tv v = {.type = type};
    v.as.state = elm_tr_alloc(r, sizeof *v.as.state);
    if (r->status != ELM_OK) return elm_tv_none();
    *v.as.state = (struct elm_tstate){given, 0};
    return v;
}

static bool takes_nothing(const elm_targs *args) {
    return !args || (args->n == 0 && !args->named);
}

elm_tv elm_tv_new_cycler(elm_trender *r, const elm_targs *args) {
    elm_tv items = elm_tv_new_list(r, true);
    if (args->n == 0 || args->named) return refuse(r, "cycler takes at least one item");
    for (uint32_t i = 0; i < args->n; i++) elm_tv_append(r, items, args->items[i]);
    return new_state(r, ELM_TV_CYCLER, items);
}

elm_tv elm_tv_new_joiner(elm_trender *r, const elm_targs *args) {
    bool named = args->named && elm_tv_get_text(args->named, "sep");
    if (args->n + (args->named ? args->named->n : 0) > 1 || (args->named && !named))
        return refuse(r, "joiner takes one separator");
    return new_state(r, ELM_TV_JOINER, elm_targ(args, 0, "sep", elm_tv_literal(", ")));
}

elm_tv elm_tv_joiner_call(elm_trender *r, elm_tv joiner, const elm_targs *args) {
    if (!takes_nothing(args)) return refuse(r, "a joiner is called without arguments");
    if (joiner.as.state->n > 0) return joiner.as.state->given;
    joiner.as.state->n = 1;
    return elm_tv_literal("");
}

elm_tv elm_tv_cycler_method(elm_trender *r, elm_tv cycler, elm_tstr name, const elm_targs *args) {
    struct elm_tstate *s = cycler.as.state;
    if (!takes_nothing(args)) return refuse(r, "next and reset of a cycler take no arguments");
    uint32_t at = s->n;
    bool next = elm_ts_is(name, "next");
    s->n = next ? (at + 1) % s->given.as.list->n : 0;
    return next ? s->given.as.list->items[at] : elm_tv_none();
}

elm_tv elm_tv_state_attribute(elm_tv v, elm_tstr name) {
    const struct elm_tstate *s = v.as.state;
    if (v.type == ELM_TV_JOINER) {
        if (elm_ts_is(name, "sep")) return s->given;
        return elm_ts_is(name, "used") ? elm_tv_bool(s->n > 0) : elm_tv_undefined("of a joiner");
    }
    if (elm_ts_is(name, "current")) return s->given.as.list->items[s->n];
    if (elm_ts_is(name, "items")) return s->given;
    return elm_ts_is(name, "pos") ? elm_tv_int(s->n) : elm_tv_undefined("of a cycler");
}
