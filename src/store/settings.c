/* Account settings: what Azure keeps outside the data API (its resource manager). One table; the
 * operator's commands, their help and the account's row are made from it. */
#include "store/internal.h"

#define SWITCH(member, about)                                                                      \
    { #member, STORE_SETTING_SWITCH, 1, offsetof(store_settings, member), about }
#define NUMBER(member, max, about)                                                                 \
    { #member, STORE_SETTING_NUMBER, (max), offsetof(store_settings, member), about }

static const store_setting settings[] = {
    SWITCH(versioning, "keep the state before each change of a blob as a version"),
    NUMBER(container_delete_days, 365, "days a deleted container can be restored; 0: not at all"),
    NUMBER(rehydrate_seconds, 7 * 24 * 3600,
           "seconds that rehydration from the archive tier takes; 0: none"),
    SWITCH(last_access_tracking, "note once a day when a blob was last read"),
};

const store_setting *store_setting_list(size_t *ret_count) {
    *ret_count = ARRAY_LEN(settings);
    return settings;
}

uint32_t store_setting_get(const store_settings *v, const store_setting *which) {
    const uint8_t *p = (const uint8_t *)v + which->offset;
    return which->kind == STORE_SETTING_SWITCH ? *(const bool *)p
                                               : *(const uint32_t *)(const void *)p;
}

static err parse_value(const store_setting *which, slice text, uint64_t *ret) {
    if (which->kind == STORE_SETTING_SWITCH) {
        *ret = slice_eq(text, S("on"));
        ENSURE(*ret == 1 || slice_eq(text, S("off")), ERR_INVALID_INPUT, "'%s' is on or off",
               which->name);
        return OK;
    }
    ENSURE(slice_u64(text, ret) == OK && *ret <= which->max, ERR_INVALID_INPUT,
           "'%s' is a number from 0 to %u", which->name, which->max);
    return OK;
}

err store_setting_parse(store_settings *v, slice text) {
    const size_t at = slice_find(text, 0, '=');
    ENSURE(at < text.len, ERR_INVALID_INPUT, "a setting is written NAME=VALUE");
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (!slice_eq(slice_take(text, at), slice_str(settings[i].name))) continue;
        uint64_t value;
        TRY(parse_value(&settings[i], slice_skip(text, at + 1), &value));
        uint8_t *p = (uint8_t *)v + settings[i].offset;
        if (settings[i].kind == STORE_SETTING_SWITCH)
            *(bool *)p = value != 0;
        else
            *(uint32_t *)(void *)p = (uint32_t)value;
        return OK;
    }
    return err_fail(ERR_INVALID_INPUT, "there is no setting '%.*s'",
                    SLICE_ARG(slice_take(slice_take(text, at), 64)));
}
