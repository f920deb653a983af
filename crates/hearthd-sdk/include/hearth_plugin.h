/* hearth_plugin.h - hearthd device plugin ABI, version 1.3.  SPDX: MIT-0 (copy it into your project)
 *
 * LOADING
 *  L1 The plugin exports one data symbol, `hearth_plugin_entry_v1`. The host reads the first 128 bytes
 *     (plain data) from the file before dlopen and refuses on: wrong ELF machine, truncated file,
 *     wrong magic, abi_major != its own, host_minor_min > its own, HEARTH_FLAG_PANIC_ABORT in-process.
 *  L2 The host dlopens a private copy (RTLD_NOW|RTLD_LOCAL) and never dlcloses it. Constructors should
 *     do nothing. init(host) is called once per loaded copy; `host` there has no device.
 *  L3 The toolchain string is for messages only. Nothing in this ABI depends on a compiler version.
 *  L4 A plugin without the data symbol `hearth_plugin_build_v1` of the host's own build runs in a process
 *     of its file, beside the host, unless the configuration says otherwise. Nobody but the host's own
 *     build exports that symbol.
 * STRUCTS
 *  S1 Fields are only ever appended, and abi_minor bumped. A reader must not touch a field that lies
 *     beyond the writer's struct_size (use HEARTH_HAS). reserved fields are 0. A function pointer may be NULL
 *     = not provided, except describe/create/destroy and, on the host, all fields of minor 0.
 *  S2 Larger additions are extensions: get_extension("vendor.name/N"), N bumped on any change.
 * MEMORY
 *  M1 hearth_slice is borrowed: valid until the callee returns. Copy what you keep. Not NUL-terminated.
 *     Strings are UTF-8; the host replaces invalid sequences. NULL pointer = empty.
 *  M2 Nothing is freed by the other side. To return data call the sink, host->complete or
 *     host->publish with a slice of your own memory.
 *  M3 A hearth_host, once handed out, stays readable until the process exits. After destroy() its functions
 *     return HEARTH_ERR_GONE and do nothing. So a late call from your own thread is harmless.
 * THREADS
 *  T1 Calls on one instance never overlap and are totally ordered, but may come from different threads over time.
 *     Different instances may be called at the same time. No calls after destroy().
 *  T2 Every hearth_host function may be called from any thread, also from inside a callback. None of them
 *     blocks, none calls back into the plugin.
 *  T3 Callbacks should return in milliseconds. A callback past its deadline marks this device stalled;
 *     later commands fail at once until it returns. In a process-isolated plugin the process is killed.
 *  T4 Start threads in create, stop and join them in destroy. Block signals in them.
 * COMMANDS
 *  C0 A command sets properties. The host has parsed and checked every value against describe() before.
 *     With HEARTH_COMMAND_SET the payload is a JSON object of several properties, to be applied together or not at
 *     all, and `name` is empty; otherwise `name` is the property and the payload its value as canonical text.
 *     Reads never reach the plugin: the host answers them with what was last published.
 *  C1 on_command returns HEARTH_OK (done, no payload), HEARTH_PENDING (host->complete(token) was or will be
 *     called exactly once, from any thread) or HEARTH_ERR_*. Tokens are never reused; extra completions get HEARTH_ERR_GONE.
 *     complete() with status HEARTH_OK and an empty payload answers with the properties' state as last published;
 *     with an error status the payload is the message for the requester. A synchronous complete() is fine.
 *  C2 set_timer arms a one-shot timer; arming the same id replaces it; HEARTH_TIMER_CANCEL disarms.
 *     Time is host->now_ms (CLOCK_MONOTONIC, the same in every process until reboot). wake() queues one on_wake (coalesced).
 *  C3 publish() reports a property's state as canonical text (or JSON where it is JSON). A value that describe()
 *     does not allow gets HEARTH_ERR_INVALID and is not published.
 *  C4 HEARTH_ERR_INDETERMINATE says that nobody can tell whether the changes are, or will yet be, applied: the answer
 *     is a 409 with the reason `indeterminate`.
 *  C5 What takes longer than a requester waits, such as a shutter that moves, is accepted: accept(host, token, within_ms) of
 *     the host's extension hearth.accept/1 (1.2), and on_command returns HEARTH_PENDING. The answer is a 202 with the
 *     properties' state, and the next command may come. complete() follows exactly once all the same, with the end:
 *     the host tells it on the device's event topic. It comes within within_ms, 1 to 86400000, or the host tells that
 *     there was no end, and the token is gone. HEARTH_ERR_GONE: the command has its answer. HEARTH_ERR_BUSY: 16 commands of
 *     the device are under way; complete() is the answer then, as without the extension. What belongs to the command
 *     on MQTT must be published before.
 * DESCRIBE
 *  D1 describe(config) puts (property name, JSON declaration) pairs, and is pure like check_config. A declaration is
 *     {"type": "switch"|"integer"|"number"|"enum"|"text"|"json", "access": "r"|"rw"|"w", "title": .., "unit": ..,
 *      "min": .., "max": .., "step": .., "values": [..], "retained": true, "idempotent": true}; type is required,
 *     access defaults to "rw", retained and idempotent to true. A switch is ON or OFF. Names are [a-z0-9_]+;
 *     "set", "get", "describe" and "status" are taken.
 *     {"type": "event", "values": [..], "title": ..} (1.1) declares what happens at once and has no state, such as a
 *     button; values are its kinds, [a-z0-9_]+ each, "failed" is taken. Hosts before 1.1 refuse such a declaration:
 *     leave it out where init's host has an older abi_minor.
 * ABSENCE
 *  A1 on_absence tells what became of the hub's will while it was away:
 *     {"generation": text, "outcome": "not-published"|"consumed"|"unconsumed"|"unknown",
 *      "acknowledgements": [{"responder": .., "payload": .., "status": .., "before_fence": bool}]}.
 *     It may come again for one generation when late evidence upgrades the outcome.
 * REACH
 *  R1 A device that cannot reach what it stands for says so through the host's extension hearth.reach/1 (1.1):
 *     unreachable(host, reason), and reachable(host) once it can again. Meanwhile its status is `unreachable`, with the
 *     reason and since when, and the host answers reads with 503 and the last known value. Commands still come, and are
 *     answered as the plugin says; HEARTH_ERR_UNREACHABLE is a 503. A new instance is reachable, and may say
 *     otherwise within create. Neither call is about a command at hand.
 * EVENTS
 *  E1 event(host, property, kind) of the host's extension hearth.event/1 (1.1) says that something has happened now, of a
 *     property of type event and one of its kinds; else HEARTH_ERR_INVALID. It goes to whoever listens at that time
 *     and is not kept. Of more than 5 a second (10 at once), some are left out: HEARTH_OK all the same, and the next
 *     one tells how many. Requests for such a property are answered by the host.
 * SECRETS
 *  K1 A kind whose table has secrets, such as a password, offers hearth.secret/1 (1.2): secrets(config, out) is pure like
 *     describe, and puts the place of each as a JSON Pointer (RFC 6901), such as "/account/password", with an empty
 *     value. A place that the table does not have counts for nothing. Where the table has {"file": PATH} or
 *     {"credential": NAME} there, the host reads the text, and every other function gets the table with the text in that place.
 *     The host neither logs nor describes it. A host before 1.2 passes the table as it is.
 * FAILURE
 *  F1 No exception or panic may leave a function of either table.
 *  F2 HEARTH_ERR_PANIC (or an error from create) makes the host destroy the instance and re-create it with back-off.
 *  F3 create: on failure leave *out NULL; report (path, message) pairs to args->errors, path as "pid.kp" or "rooms[2].name".
 */
#ifndef HEARTH_PLUGIN_H
#define HEARTH_PLUGIN_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define HEARTH_ABI_MAJOR 1
#define HEARTH_ABI_MINOR 3

enum { HEARTH_OK = 0, HEARTH_PENDING = 1, HEARTH_ERR_FAILED = -1, HEARTH_ERR_INVALID = -2, HEARTH_ERR_UNSUPPORTED = -3,
       HEARTH_ERR_BUSY = -4, HEARTH_ERR_GONE = -5, HEARTH_ERR_TOO_LARGE = -6, HEARTH_ERR_PANIC = -7,
       HEARTH_ERR_UNREACHABLE = -8, HEARTH_ERR_INDETERMINATE = -9 /* both 1.1; to an older host any failure */ };
enum { HEARTH_LOG_ERROR = 1, HEARTH_LOG_WARN, HEARTH_LOG_INFO, HEARTH_LOG_DEBUG, HEARTH_LOG_TRACE };
#define HEARTH_FLAG_PANIC_ABORT   1u
#define HEARTH_COMMAND_SET        1u
#define HEARTH_TIMER_CANCEL       UINT64_MAX
#define HEARTH_EXT_STATE          "hearth.state/1"
#define HEARTH_EXT_REACH          "hearth.reach/1"
#define HEARTH_EXT_EVENT          "hearth.event/1"
#define HEARTH_EXT_ACCEPT         "hearth.accept/1"
#define HEARTH_EXT_SECRET         "hearth.secret/1"

typedef struct hearth_slice { const uint8_t *ptr; size_t len; } hearth_slice;
#define HEARTH_S(lit) { (const uint8_t *)(lit), sizeof(lit) - 1 }
#define HEARTH_HAS(p, field) ((p)->struct_size >= offsetof(__typeof__(*(p)), field) + sizeof((p)->field) && (p)->field)

typedef struct hearth_sink {
  void *ctx;
  void (*put)(void *ctx, hearth_slice key, hearth_slice value);
} hearth_sink;

typedef struct hearth_host {
  uint32_t struct_size;
  uint16_t abi_minor;
  uint16_t reserved;
  void *ctx;
  void     (*log)(const struct hearth_host *, int32_t level, hearth_slice target, hearth_slice msg);
  int32_t  (*log_enabled)(const struct hearth_host *, int32_t level);
  int32_t  (*publish)(const struct hearth_host *, hearth_slice property, hearth_slice payload, uint32_t reserved);
  int32_t  (*complete)(const struct hearth_host *, uint64_t token, int32_t status, hearth_slice payload);
  int32_t  (*set_timer)(const struct hearth_host *, uint32_t timer_id, uint64_t delay_ms);
  int32_t  (*wake)(const struct hearth_host *);
  uint64_t (*now_ms)(const struct hearth_host *);
  const void *(*get_extension)(const struct hearth_host *, const char *id);
} hearth_host;

typedef struct hearth_create_args {
  uint32_t struct_size;
  uint32_t reserved;
  const hearth_host *host;
  hearth_slice device_id;
  hearth_slice config;      /* JSON object: the [devices.X.config] table */
  hearth_slice saved_state; /* what hearth.state/1 save() wrote, or empty */
  hearth_sink  errors;
} hearth_create_args;

typedef struct hearth_command {
  uint32_t struct_size;
  uint32_t flags;
  uint64_t token;
  uint64_t deadline_ms;  /* on the now_ms clock; 0 = none */
  hearth_slice name;
  hearth_slice payload;
} hearth_command;

typedef struct hearth_kind {
  uint32_t struct_size;
  uint32_t reserved;
  hearth_slice name;
  hearth_slice config_schema; /* JSON Schema, may be empty */
  int32_t (*check_config)(hearth_slice config, hearth_sink errors); /* pure: no I/O, no instance */
  int32_t (*describe)(hearth_slice config, hearth_sink properties);  /* pure; required; see D1 */
  int32_t (*create)(const hearth_create_args *args, void **out);
  void    (*destroy)(void *instance);
  int32_t (*on_command)(void *instance, const hearth_command *cmd);
  int32_t (*on_timer)(void *instance, uint32_t timer_id);
  int32_t (*on_wake)(void *instance);
  int32_t (*on_absence)(void *instance, hearth_slice absence); /* see A1 */
  const void *(*get_extension)(const char *id);
} hearth_kind;

typedef struct hearth_prefix {
  uint8_t  magic[8];       /* "HEARTHP" */
  uint32_t struct_size;    /* sizeof(hearth_entry) */
  uint16_t abi_major;
  uint16_t abi_minor;      /* minor of the header the plugin was compiled with */
  uint16_t host_minor_min; /* oldest host minor it runs on */
  uint16_t reserved;
  uint32_t flags;
  char     name[32];
  char     version[24];
  char     toolchain[48];
} hearth_prefix;

typedef struct hearth_entry {
  hearth_prefix prefix;
  int32_t (*init)(const hearth_host *host); /* may be NULL */
  const hearth_kind *const *kinds;          /* NULL-terminated */
} hearth_entry;

/* Asked after every call on an instance; what it puts, under any key, is stored ahead of an answer that tells of it. */
typedef struct hearth_ext_state {
  uint32_t struct_size;
  uint32_t reserved;
  int32_t (*save)(void *instance, hearth_sink out);
} hearth_ext_state;

/* Of the host, found through hearth_host.get_extension; NULL before 1.1. See R1. */
typedef struct hearth_ext_reach {
  uint32_t struct_size;
  uint32_t reserved;
  int32_t (*unreachable)(const hearth_host *host, hearth_slice reason);
  int32_t (*reachable)(const hearth_host *host);
} hearth_ext_reach;

/* Likewise; see E1. */
typedef struct hearth_ext_event {
  uint32_t struct_size;
  uint32_t reserved;
  int32_t (*event)(const hearth_host *host, hearth_slice property, hearth_slice kind);
} hearth_ext_event;

/* Of the host; see C5 (1.2). */
typedef struct hearth_ext_accept {
  uint32_t struct_size;
  uint32_t reserved;
  int32_t (*accept)(const hearth_host *host, uint64_t token, uint64_t within_ms);
} hearth_ext_accept;

/* Of a kind, as hearth_ext_state. Asked ahead of check_config, with the table as it is written. See K1 (1.2). */
typedef struct hearth_ext_secret {
  uint32_t struct_size;
  uint32_t reserved;
  int32_t (*secrets)(hearth_slice config, hearth_sink out);
} hearth_ext_secret;

#if defined(__GNUC__)
#define HEARTH_EXPORT __attribute__((visibility("default")))
#define HEARTH_STR2(x) #x
#define HEARTH_STR(x) HEARTH_STR2(x)
#define HEARTH_TOOLCHAIN "gcc " HEARTH_STR(__GNUC__) "." HEARTH_STR(__GNUC_MINOR__)
#else
#define HEARTH_EXPORT
#define HEARTH_TOOLCHAIN "C"
#endif
#define HEARTH_PREFIX(NAME, VERSION) { "HEARTHP", sizeof(hearth_entry), HEARTH_ABI_MAJOR, HEARTH_ABI_MINOR, 0, 0, 0, NAME, VERSION, HEARTH_TOOLCHAIN }
extern HEARTH_EXPORT const hearth_entry hearth_plugin_entry_v1;

#ifdef __cplusplus
}
#endif
#endif
