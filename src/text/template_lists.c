/* template_lists.c - filters that take a list, or make one; text. */
#include "text/template_filters.h"

#include "text/template_ast.h"

#include <string.h>

/* A part of a path: a number, or a name. */
static elm_tv part_key(elm_tstr part) {
    int64_t n = 0;
    for (uint32_t i = 0; i < part.size; i++) {
        if (part.data[i] < '0' || part.data[i] > '9' || n > INT32_MAX) return elm_tv_string(part);
        n = n * 10 + (part.data[i] - '0');
    }
    return part.size > 0 ? elm_tv_int(n) : elm_tv_string(part);
}

/* attribute "a.b.0" of an item, or the item itself. */
static elm_tv by_attribute(elm_trender *r, elm_tv item, elm_tv attribute) {
    if (attribute.type == ELM_TV_INT) return elm_tv_attribute(r, item, attribute, false);
    if (attribute.type != ELM_TV_STRING) return item;
    elm_tstr path = attribute.as.string;
    for (uint32_t at = 0; at <= path.size && r->status == ELM_OK;) {
        uint32_t end = at;
        while (end < path.size && path.data[end] != '.') end++;
        elm_tstr part = elm_ts_slice(path, at, end);
        item = elm_tv_attribute(r, item, part_key(part), false);
        at = end + 1;
    }
    return item;
}

/* Rest of the arguments from `from` on. */
static elm_targs rest(const elm_targs *args, uint32_t from) {
    elm_targs out = *args;
    uint32_t skip = from < out.n ? from : out.n;
    out.items += skip;
    out.n -= skip;
    return out;
}

/* What map, select and their like go over: nothing where the value is false, as None is. */
static elm_tlist *true_items(elm_trender *r, elm_tv v) {
    return elm_tv_iterate(r, elm_tv_truth(v) ? v : elm_tv_undefined(""));
}

static elm_tv map(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tlist *l = true_items(r, v);
    elm_tv out = elm_tv_new_list(r, false),
           attribute = elm_targ(args, UINT32_MAX, "attribute", elm_tv_none());
    elm_tv def = elm_targ(args, UINT32_MAX, "default", elm_tv_undefined("map"));
    elm_tv name = elm_targ(args, 0, NULL, elm_tv_none());
    elm_targs more = rest(args, 1);
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        elm_tv item;
        if (attribute.type != ELM_TV_NONE) {
            item = by_attribute(r, l->items[i], attribute);
            if (item.type == ELM_TV_UNDEFINED) item = def.type == ELM_TV_UNDEFINED ? item : def;
        } else if (name.type == ELM_TV_STRING && elm_filter_known(name.as.string)) {
            item = elm_tv_filter(r, name.as.string, l->items[i], &more);
        } else {
            elm_tr_fail(r, ELM_UNSUPPORTED, "map needs an attribute or a known filter");
            break;
        }
        elm_tv_append(r, out, item);
    }
    return out;
}

/* select, reject, selectattr, rejectattr */
static elm_tv choose(elm_trender *r, elm_tv v, const elm_targs *args, bool wanted, bool attribute) {
    elm_tlist *l = true_items(r, v);
    elm_tv out = elm_tv_new_list(r, false);
    uint32_t at = attribute ? 1 : 0;
    elm_tv key = elm_targ(args, 0, NULL, elm_tv_none()),
           test = elm_targ(args, at, NULL, elm_tv_none());
    elm_targs more = rest(args, at + 1);
    if (test.type == ELM_TV_STRING && !elm_test_known(test.as.string))
        elm_tr_fail(r, ELM_UNSUPPORTED, "select by an unknown test");
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        elm_tv item = attribute ? by_attribute(r, l->items[i], key) : l->items[i];
        bool good = test.type == ELM_TV_STRING ? elm_tv_test(r, test.as.string, item, &more)
                                               : elm_tv_truth(item);
        if (good == wanted) elm_tv_append(r, out, l->items[i]);
    }
    return out;
}

/* Keys compare without case unless they are asked to: jinja2's default. */
static elm_tv sort_key(elm_trender *r, elm_tv v, elm_tv attribute, bool case_sensitive) {
    elm_tv key = by_attribute(r, v, attribute);
    if (key.type != ELM_TV_STRING || case_sensitive) return key;
    return elm_tv_method(r, key, elm_tv_literal("lower").as.string, NULL);
}

/* The keys of sort(attribute="a,b"): a list of them where there are several. */
static elm_tv sort_keys(elm_trender *r, elm_tv v, elm_tv attribute, bool case_sensitive) {
    bool many = attribute.type == ELM_TV_STRING &&
                memchr(attribute.as.string.data, ',', attribute.as.string.size);
    if (!many) return sort_key(r, v, attribute, case_sensitive);
    elm_tv out = elm_tv_new_list(r, false);
    elm_tstr s = attribute.as.string;
    for (uint32_t at = 0, end; at <= s.size && r->status == ELM_OK; at = end + 1) {
        for (end = at; end < s.size && s.data[end] != ',';) end++;
        elm_tv one = elm_tv_string(elm_ts_slice(s, at, end));
        elm_tv_append(r, out, sort_key(r, v, one, case_sensitive));
    }
    return out;
}

static elm_tv sorted(elm_trender *r, elm_tv v, bool reverse, bool case_sensitive,
                     elm_tv attribute) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false), keys = elm_tv_new_list(r, false);
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        elm_tv key = sort_keys(r, l->items[i], attribute, case_sensitive);
        elm_tv_append(r, out, l->items[i]);
        elm_tv_append(r, keys, key);
        if (r->status != ELM_OK) break;
        elm_tv *items = out.as.list->items, *k = keys.as.list->items;
        uint32_t at = i;
        for (; at > 0 && elm_tr_step(r); at--) {
            int order = elm_tv_compare(r, k[at - 1], key);
            if (reverse ? order >= 0 : order <= 0) break;
            items[at] = items[at - 1];
            k[at] = k[at - 1];
        }
        items[at] = l->items[i];
        k[at] = key;
    }
    return out;
}

static elm_tv dict_sort(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv by = elm_targ(args, 1, "by", elm_tv_literal("key"));
    if (v.type != ELM_TV_DICT) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "dictsort takes a dict, not %s", elm_tv_type_name(v));
        return elm_tv_none();
    }
    elm_tv items = elm_tv_method(r, v, elm_tv_literal("items").as.string, NULL);
    return sorted(r, items, elm_tv_truth(elm_targ(args, 2, "reverse", elm_tv_bool(false))),
                  elm_tv_truth(elm_targ(args, 0, "case_sensitive", elm_tv_bool(false))),
                  elm_tv_int(elm_tv_is_text(by, "value") ? 1 : 0));
}

static elm_tv reversed(elm_trender *r, elm_tv v, const elm_targs *args) {
    (void)args;
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false);
    for (uint32_t i = l->n; i > 0 && elm_tr_step(r); i--) elm_tv_append(r, out, l->items[i - 1]);
    if (v.type != ELM_TV_STRING || r->status != ELM_OK) return out;
    return elm_tv_marked(elm_tv_join(r, out.as.list, elm_tv_literal("").as.string), v);
}

static elm_tv unique(elm_trender *r, elm_tv v, const elm_targs *args) {
    bool with_case = elm_tv_truth(elm_targ(args, 0, "case_sensitive", elm_tv_bool(false)));
    elm_tv attribute = elm_targ(args, 1, "attribute", elm_tv_none());
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false), keys = elm_tv_new_list(r, false);
    for (uint32_t i = 0; i < l->n && r->status == ELM_OK; i++) {
        elm_tv key = sort_key(r, l->items[i], attribute, with_case);
        bool seen = false;
        for (uint32_t k = 0; r->status == ELM_OK && k < keys.as.list->n && !seen && elm_tr_step(r);
             k++)
            seen = elm_tv_equal(keys.as.list->items[k], key);
        if (seen) continue;
        elm_tv_append(r, keys, key);
        elm_tv_append(r, out, l->items[i]);
    }
    return out;
}

static elm_tv sort(elm_trender *r, elm_tv v, const elm_targs *args) {
    return sorted(r, v, elm_tv_truth(elm_targ(args, 0, "reverse", elm_tv_bool(false))),
                  elm_tv_truth(elm_targ(args, 1, "case_sensitive", elm_tv_bool(false))),
                  elm_targ(args, 2, "attribute", elm_tv_none()));
}

static elm_tv extreme(elm_trender *r, elm_tv v, const elm_targs *args, int sign) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv attribute = elm_targ(args, UINT32_MAX, "attribute", elm_tv_none());
    uint32_t best = 0;
    if (l->n == 0) return elm_tv_undefined("min or max of nothing");
    for (uint32_t i = 1; i < l->n && elm_tr_step(r); i++) {
        if (elm_tv_compare(r, sort_key(r, l->items[i], attribute, false),
                           sort_key(r, l->items[best], attribute, false)) == sign)
            best = i;
    }
    return l->items[best];
}

/* A fold of +, of numbers or lists; lists into one, not each sum into a new one. */
static elm_tv total(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv attribute = elm_targ(args, 0, "attribute", elm_tv_none()),
           sum = elm_targ(args, 1, "start", elm_tv_int(0));
    bool lists = sum.type == ELM_TV_LIST;
    if (sum.type == ELM_TV_STRING) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "sum of strings");
    if (lists) sum = elm_tv_filter(r, elm_tv_literal("list").as.string, sum, NULL);
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        elm_tv item = by_attribute(r, l->items[i], attribute);
        if (!lists || item.type != ELM_TV_LIST) {
            sum = elm_tv_binary(r, ELM_OP_PLUS, sum, item);
            continue;
        }
        for (uint32_t k = 0; k < item.as.list->n && elm_tr_step(r); k++)
            elm_tv_append(r, sum, item.as.list->items[k]);
    }
    return sum;
}

static elm_tv lowest(elm_trender *r, elm_tv v, const elm_targs *args) {
    return extreme(r, v, args, -1);
}
static elm_tv highest(elm_trender *r, elm_tv v, const elm_targs *args) {
    return extreme(r, v, args, 1);
}
static elm_tv select_items(elm_trender *r, elm_tv v, const elm_targs *args) {
    return choose(r, v, args, true, false);
}
static elm_tv reject_items(elm_trender *r, elm_tv v, const elm_targs *args) {
    return choose(r, v, args, false, false);
}
static elm_tv select_by(elm_trender *r, elm_tv v, const elm_targs *args) {
    return choose(r, v, args, true, true);
}
static elm_tv reject_by(elm_trender *r, elm_tv v, const elm_targs *args) {
    return choose(r, v, args, false, true);
}

/* The argument of batch and slice. */
static int64_t row_size(elm_trender *r, const elm_targs *args, const char *name) {
    elm_tv size = elm_targ(args, 0, name, elm_tv_none());
    if (size.type == ELM_TV_INT && size.as.integer >= 1 && size.as.integer <= INT32_MAX)
        return size.as.integer;
    elm_tr_fail(r, ELM_INVALID_ARGUMENT, "batch and slice take a size from 1");
    return 1;
}

/* Rows of so many items. */
static elm_tv batch(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false), fill = elm_targ(args, 1, "fill_with", elm_tv_none()),
           row = out;
    int64_t size = row_size(r, args, "linecount");
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        if (i % size == 0) {
            row = elm_tv_new_list(r, false);
            elm_tv_append(r, out, row);
        }
        elm_tv_append(r, row, l->items[i]);
    }
    for (int64_t i = l->n; l->n > 0 && fill.type != ELM_TV_NONE && i % size != 0 && elm_tr_step(r);
         i++)
        elm_tv_append(r, row, fill);
    return out;
}

/* So many rows, the first ones longer by one where it does not come out even. */
static elm_tv slices(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false), fill = elm_targ(args, 1, "fill_with", elm_tv_none());
    int64_t rows = row_size(r, args, "slices"), each = l->n / rows, longer = l->n % rows, at = 0;
    for (int64_t k = 0; k < rows && elm_tr_step(r); k++) {
        elm_tv row = elm_tv_new_list(r, false);
        for (int64_t i = 0, n = each + (k < longer); i < n && elm_tr_step(r); i++)
            elm_tv_append(r, row, l->items[at++]);
        if (fill.type != ELM_TV_NONE && k >= longer && longer > 0) elm_tv_append(r, row, fill);
        elm_tv_append(r, out, row);
    }
    return out;
}

/* (key, items) for every key, sorted. */
static elm_tv group_by(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv attribute = elm_targ(args, 0, "attribute", elm_tv_none()),
           def = elm_targ(args, 1, "default", elm_tv_none());
    bool with_case = elm_tv_truth(elm_targ(args, 2, "case_sensitive", elm_tv_bool(false)));
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv pairs = elm_tv_new_list(r, false), out = elm_tv_new_list(r, false), last = elm_tv_none(),
           row = out;
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        elm_tv pair = elm_tv_new_list(r, true), key = by_attribute(r, l->items[i], attribute);
        elm_tv_append(r, pair, key.type == ELM_TV_UNDEFINED && def.type != ELM_TV_NONE ? def : key);
        elm_tv_append(r, pair, l->items[i]);
        elm_tv_append(r, pairs, pair);
    }
    pairs = sorted(r, pairs, false, with_case, elm_tv_int(0));
    for (uint32_t i = 0; r->status == ELM_OK && i < pairs.as.list->n && elm_tr_step(r); i++) {
        const elm_tv *pair = pairs.as.list->items[i].as.list->items;
        elm_tv key = sort_key(r, pair[0], elm_tv_none(), with_case);
        if (i == 0 || !elm_tv_equal(key, last)) {
            elm_tv group = elm_tv_new_list(r, true);
            row = elm_tv_new_list(r, false);
            elm_tv_append(r, group, pair[0]);
            elm_tv_append(r, group, row);
            elm_tv_append(r, out, group);
        }
        elm_tv_append(r, row, pair[1]);
        last = key;
    }
    return out;
}

static elm_tv edge(elm_trender *r, elm_tv v, bool last) {
    elm_tlist *l = elm_tv_iterate(r, v);
    if (l->n == 0)
        return elm_tv_undefined(last ? "the last item of nothing" : "the first item of nothing");
    return l->items[last ? l->n - 1 : 0];
}
static elm_tv first(elm_trender *r, elm_tv v, const elm_targs *args) {
    (void)args;
    return edge(r, v, false);
}
static elm_tv last(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv out = edge(r, v, true);
    (void)args; /* str's iterator gives plain strings, its way back what [i] gives */
    return v.type == ELM_TV_STRING ? elm_tv_marked(out, v) : out;
}

static elm_tv joined(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv separator = elm_targ(args, 0, "d", elm_tv_literal("")),
           attribute = elm_targ(args, 1, "attribute", elm_tv_none());
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv items = elm_tv_new_list(r, false);
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++)
        elm_tv_append(r, items, by_attribute(r, l->items[i], attribute));
    if (r->status != ELM_OK) return items;
    return elm_tv_join(r, items.as.list, elm_tv_str(r, separator));
}

static elm_tv as_list(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false);
    (void)args;
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) elm_tv_append(r, out, l->items[i]);
    return out;
}

static elm_tv items_of(elm_trender *r, elm_tv v, const elm_targs *args) {
    (void)args;
    if (v.type == ELM_TV_UNDEFINED) return elm_tv_new_list(r, false);
    if (v.type != ELM_TV_DICT) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "items takes a dict");
    return elm_tv_method(r, v, elm_tv_literal("items").as.string, NULL);
}

const elm_tfilter elm_list_filters[] = {{"map", map},
                                        {"select", select_items},
                                        {"reject", reject_items},
                                        {"selectattr", select_by},
                                        {"rejectattr", reject_by},
                                        {"sort", sort},
                                        {"dictsort", dict_sort},
                                        {"reverse", reversed},
                                        {"unique", unique},
                                        {"min", lowest},
                                        {"max", highest},
                                        {"sum", total},
                                        {"batch", batch},
                                        {"slice", slices},
                                        {"groupby", group_by},
                                        {"first", first},
                                        {"last", last},
                                        {"join", joined},
                                        {"list", as_list},
                                        {"items", items_of},
                                        {NULL, NULL}};
