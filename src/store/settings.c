/* Account settings: what Azure keeps outside the data API (its resource manager). One table; the
 * operator's commands, their help and the account's row are made from it. */
#include "store/internal.h"

#define SWITCH(member, about)                                                                      \
    { #member, STORE_SETTING_SWITCH, 1, offsetof(store_settings, member), about }
#define NUMBER(member, max, about)                                                                 \
    { #member, STORE_SETTING_NUMBER, (max), offsetof(store_settings, member), about }

#define CODE(member, about)                                                                        \
    { #member, STORE_SETTING_CODE, CODE_MAX, offsetof(store_settings, member), about }

#define CODE_MAX 64 /* as x-ms-purpose (audit/record.h) */

static const store_setting settings[] = {
    SWITCH(versioning, "keep the state before each change of a blob as a version"),
    NUMBER(container_delete_days, 365, "days a deleted container can be restored; 0: not at all"),
    NUMBER(rehydrate_seconds, 7 * 24 * 3600,
           "seconds that rehydration from the archive tier takes; 0: none"),
    SWITCH(last_access_tracking, "note once a day when a blob was last read"),
    CODE(purpose_key1, "what requests with key 1, or tokens of it, are for when they do not say"),
    CODE(purpose_key2, "the same of key 2"),
};

const store_setting *store_setting_list(size_t *ret_count) {
    *ret_count = ARRAY_LEN(settings);
    return settings;
}

slice store_setting_text(arena *a, const store_settings *v, const store_setting *which) {
    const void *p = (const uint8_t *)v + which->offset;
    switch (which->kind) {
    case STORE_SETTING_SWITCH:
        return *(const bool *)p ? S("on") : S("off");
    case STORE_SETTING_NUMBER:
        return arena_fmt(a, "%u", *(const uint32_t *)p);
    case STORE_SETTING_CODE:
        break;
    }
    return *(const slice *)p;
}

static err set_value(const store_setting *which, slice text, void *to) {
    uint64_t value;
    switch (which->kind) {
    case STORE_SETTING_SWITCH:
        ENSURE(slice_eq(text, S("on")) || slice_eq(text, S("off")), ERR_INVALID_INPUT,
               "'%s' is on or off", which->name);
        *(bool *)to = slice_eq(text, S("on"));
        break;
    case STORE_SETTING_NUMBER:
        ENSURE(slice_u64(text, &value) == OK && value <= which->max, ERR_INVALID_INPUT,
               "'%s' is a number from 0 to %u", which->name, which->max);
        *(uint32_t *)to = (uint32_t)value;
        break;
    case STORE_SETTING_CODE:
        ENSURE(text.len <= which->max && slice_is_code(text), ERR_INVALID_INPUT,
               "'%s' is up to %u letters, digits, '.', '_' and '-'; empty: none", which->name,
               which->max);
        *(slice *)to = text;
        break;
    }
    return OK;
}

err store_setting_parse(store_settings *v, slice text) {
    const size_t at = slice_find(text, 0, '=');
    ENSURE(at < text.len, ERR_INVALID_INPUT, "a setting is written NAME=VALUE");
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (slice_eq(slice_take(text, at), slice_str(settings[i].name)))
            return set_value(&settings[i], slice_skip(text, at + 1),
                             (uint8_t *)v + settings[i].offset);
    return err_fail(ERR_INVALID_INPUT, "there is no setting '%.*s'",
                    SLICE_ARG(slice_take(slice_take(text, at), 64)));
}
