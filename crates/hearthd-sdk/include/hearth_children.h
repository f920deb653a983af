/* hearth_children.h - the extension hearth.children/1 of the hearthd device plugin ABI: a device adds and removes devices
 * of its own while it runs, such as a bridge to a radio.  SPDX: MIT-0 (copy it into your project, beside hearth_plugin.h)
 *
 * A kind offers it: get_extension(HEARTH_EXT_CHILDREN) returns a hearth_kind_children. Only devices whose table it says
 * may_add of (1, else 0; pure like describe) may have children. The host offers it likewise, as a hearth_host_children; a host before 1.3 returns NULL. The rules of
 * hearth_plugin.h hold here too.
 *
 *  N1 A child is a device as any other to everybody outside. Its ID is the parent's ID, `-` and the child's name. A name
 *     has a-z, 0-9, `_` and `-`; the whole ID has 64 bytes at most. The deadline and the like are the parent's.
 *  N2 add() makes a child and puts its host into `out`: publish, complete, set_timer, wake and log of that table are the
 *     child's, and so are the host's extensions hearth.reach/1, hearth.event/1 and hearth.accept/1 with it. It follows M3,
 *     and answers HEARTH_ERR_GONE once the child is removed, added anew, or the parent is destroyed. A child has no topics
 *     and no children of its own.
 *     `properties` is a JSON object of names and declarations as in D1. Adding a name again replaces its declaration, and
 *     keeps the requests that wait.
 *     HEARTH_ERR_INVALID: the name or a declaration is not right, or another device has the ID.
 *     HEARTH_ERR_TOO_LARGE: there are 256 children, or the declarations have more than 16 KiB.
 *     HEARTH_ERR_BUSY: children change too fast; 512 changes at once and one a second.
 *     HEARTH_ERR_UNSUPPORTED: the kind does not say that the device may add others. The reason goes to `errors` as a (path, message) pair.
 *  N3 The host remembers children across its restarts, and takes requests for them from the start. They wait until the
 *     parent has added the child again, and are answered 503 shortly before their deadline. So a parent adds its children in
 *     create or soon after, and removes those that are no more; list() puts the name of each that the host has, added
 *     or remembered, with an empty value.
 *  N4 remove() ends a child for good: its requests are answered, and what was retained of it is taken back.
 *     HEARTH_ERR_INVALID: there is no such child.
 *  N5 on_command, on_timer and on_wake are those of hearth_kind for a child, named by its name. T1 and C0 to C5 hold: calls
 *     for a parent and all its children never overlap, and tokens are not used twice among them. A command of a
 *     child returns HEARTH_PENDING and is completed through the child's host. What the parent saves is asked for after them too.
 *     After remove() from another thread, a call that has begun goes on.
 *  N6 on_refused says that a child which add() has taken is none after all: another device has its ID, because of a reload,
 *     or because the parent runs in a process of its own and the host found it later. Its host is gone.
 *  N7 When the parent ends, crashes or is created anew, its children wait for it as in N3.
 */
#ifndef HEARTH_CHILDREN_H
#define HEARTH_CHILDREN_H
#include "hearth_plugin.h"
#ifdef __cplusplus
extern "C" {
#endif

#define HEARTH_EXT_CHILDREN "hearth.children/1"

typedef struct hearth_child {
  uint32_t struct_size;
  uint32_t reserved;
  hearth_slice name;
  hearth_slice kind;       /* what it is, for people, such as "light"; empty: the parent's kind */
  hearth_slice title;      /* name for people; may be empty */
  hearth_slice room;       /* likewise; empty: the parent's room */
  hearth_slice properties; /* JSON object: name -> declaration (D1) */
  hearth_sink  errors;
} hearth_child;

/* Of the host, for one device; may be called as T2 says. */
typedef struct hearth_host_children {
  uint32_t struct_size;
  uint32_t reserved;
  int32_t (*add)(const hearth_host *host, const hearth_child *child, const hearth_host **out);
  int32_t (*remove)(const hearth_host *host, hearth_slice name);
  int32_t (*list)(const hearth_host *host, hearth_sink out);
} hearth_host_children;

/* Of a kind; on_timer, on_wake and on_refused may be NULL. */
typedef struct hearth_kind_children {
  uint32_t struct_size;
  uint32_t reserved;
  int32_t (*may_add)(hearth_slice config);
  int32_t (*on_command)(void *instance, hearth_slice child, const hearth_command *cmd);
  int32_t (*on_timer)(void *instance, hearth_slice child, uint32_t timer_id);
  int32_t (*on_wake)(void *instance, hearth_slice child);
  int32_t (*on_refused)(void *instance, hearth_slice child, hearth_slice reason);
} hearth_kind_children;

#ifdef __cplusplus
}
#endif
#endif
