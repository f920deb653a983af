/* A board at a serial port that takes and tells lines. The table has two keys: port = PATH, speed = BITS IN A SECOND.
 * The board takes `power ON` and `power OFF`, answers `ok` or `error REASON`, and tells `temperature 21.5` by itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "hearth_plugin.h"

#define PATIENCE_MS 3000 /* how long the board may take to answer */
#define PAUSE_MS 1000    /* until the port is opened again */

/* One board of the configuration. */
typedef struct {
  const hearth_host *host;
  const hearth_ext_reach *reach; /* NULL on an older hub */
  char path[256];
  int speed;
  pthread_t thread;
  int stop[2];          /* a pipe: closing its second end ends the thread */
  pthread_mutex_t lock; /* of the fields below */
  int port;             /* -1 while it is closed */
  uint64_t waiting;     /* the command that the board has not answered; 0 = none */
  int wanted;
} board;

static const hearth_slice power = HEARTH_S("power");
static const hearth_slice temperature = HEARTH_S("temperature");
static const hearth_slice states[] = { HEARTH_S("OFF"), HEARTH_S("ON") };

static hearth_slice slice_of(const char *text) {
  hearth_slice slice = { (const uint8_t *)text, strlen(text) };
  return slice;
}

/* Reads the table, which is JSON; returns the key that is wrong, or NULL. A path with a backslash is refused. */
static const char *read_table(hearth_slice config, char path[256], int *speed) {
  char table[1024] = "";
  struct termios unused = { 0 };
  int end = 0;
  if (config.len < sizeof table) memcpy(table, config.ptr, config.len);
  const char *at = strstr(table, "\"port\"");
  if (!at || sscanf(at, "\"port\" : \"%255[^\"\\]\"%n", path, &end) != 1 || end == 0) return "port";
  at = strstr(table, "\"speed\"");
  if (!at || sscanf(at, "\"speed\" : %7d", speed) != 1 || cfsetspeed(&unused, *speed) != 0) return "speed";
  return NULL;
}

static int32_t check_config(hearth_slice config, hearth_sink errors) {
  static const hearth_slice problem = HEARTH_S("a path and a speed are expected, such as /dev/ttyUSB0 and 9600");
  char path[256];
  int speed;
  const char *key = read_table(config, path, &speed);
  if (!key) return HEARTH_OK;
  errors.put(errors.ctx, slice_of(key), problem);
  return HEARTH_ERR_INVALID;
}

static int32_t describe(hearth_slice config, hearth_sink properties) {
  static const hearth_slice is_switch = HEARTH_S("{\"type\": \"switch\"}");
  static const hearth_slice celsius = HEARTH_S("{\"type\": \"number\", \"access\": \"r\", \"unit\": \"°C\"}");
  (void)config;
  properties.put(properties.ctx, power, is_switch);
  properties.put(properties.ctx, temperature, celsius);
  return HEARTH_OK;
}

/* Answers the command that waits, if there is one; the caller has the lock. */
static void answer(board *self, int32_t status, const char *reason) {
  uint64_t token = self->waiting;
  self->waiting = 0;
  if (token) self->host->complete(self->host, token, status, slice_of(reason));
}

/* Takes a line of the board. */
static void hear(board *self, const char *line) {
  pthread_mutex_lock(&self->lock);
  if (strcmp(line, "ok") == 0) {
    if (self->waiting) self->host->publish(self->host, power, states[self->wanted], 0);
    answer(self, HEARTH_OK, "");
  } else if (strncmp(line, "error ", 6) == 0) {
    answer(self, HEARTH_ERR_INVALID, line + 6);
  } else if (strncmp(line, "temperature ", 12) == 0) {
    self->host->publish(self->host, temperature, slice_of(line + 12), 0);
  } else {
    self->host->log(self->host, HEARTH_LOG_WARN, slice_of("board"), slice_of(line));
  }
  pthread_mutex_unlock(&self->lock);
}

/* Waits until the board says something, or for a time in milliseconds; returns whether the device goes on. */
static int await(const board *self, int port, int time) {
  struct pollfd ready[] = { { .fd = self->stop[0], .events = POLLIN }, { .fd = port, .events = POLLIN } };
  poll(ready, 2, time);
  return ready[0].revents == 0;
}

/* Hears what the board says; returns whether the device goes on without it. */
static int listen_to(board *self) {
  char line[100], bytes[100];
  size_t length = 0;
  while (await(self, self->port, -1)) {
    ssize_t got = read(self->port, bytes, sizeof bytes);
    if (got <= 0) return 1;
    for (ssize_t at = 0; at < got; at++) {
      if (bytes[at] == '\n') {
        line[length] = '\0';
        length = 0;
        hear(self, line);
      } else if (bytes[at] != '\r' && length < sizeof line - 1) {
        line[length++] = bytes[at];
      }
    }
  }
  return 0;
}

/* Keeps an open port, or says why there is none. */
static void set_port(board *self, int port, const char *problem) {
  char reason[400];
  snprintf(reason, sizeof reason, "%s: %s", self->path, problem);
  pthread_mutex_lock(&self->lock);
  if (self->port >= 0) close(self->port);
  self->port = port;
  if (port >= 0 && self->reach) self->reach->reachable(self->host);
  if (port < 0 && self->reach) self->reach->unreachable(self->host, slice_of(reason));
  if (port < 0) answer(self, HEARTH_ERR_UNREACHABLE, reason);
  pthread_mutex_unlock(&self->lock);
}

/* Opens the port without echo and line editing, and forgets what came before. */
static void open_port(board *self) {
  struct termios settings;
  /* Without O_NONBLOCK, a board that takes nothing more would hold up the device. */
  int port = open(self->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (port >= 0 && tcgetattr(port, &settings) == 0) {
    cfmakeraw(&settings);
    if (cfsetspeed(&settings, self->speed) == 0 && tcsetattr(port, TCSAFLUSH, &settings) == 0) {
      set_port(self, port, "");
      return;
    }
  }
  set_port(self, -1, strerror(errno));
  if (port >= 0) close(port);
}

/* The thread: hears the board, and opens the port again after it has gone. */
static void *run(void *instance) {
  board *self = instance;
  while (self->port < 0 || listen_to(self)) {
    if (self->port >= 0) set_port(self, -1, "the board has gone");
    if (!await(self, -1, PAUSE_MS)) break;
    open_port(self);
  }
  return NULL;
}

/* Starts the thread, which gets no signals (T4). */
static int start(board *self) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&self->thread, NULL, run, self);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

static int32_t create(const hearth_create_args *args, void **instance) {
  board *self = calloc(1, sizeof *self);
  if (!self) return HEARTH_ERR_FAILED;
  self->host = args->host;
  self->reach = args->host->get_extension(args->host, HEARTH_EXT_REACH);
  read_table(args->config, self->path, &self->speed);
  pthread_mutex_init(&self->lock, NULL);
  self->port = -1;
  if (pipe2(self->stop, O_CLOEXEC) == 0) {
    open_port(self);
    if (start(self) == 0) {
      *instance = self;
      return HEARTH_OK;
    }
    if (self->port >= 0) close(self->port);
    close(self->stop[0]);
    close(self->stop[1]);
  }
  free(self);
  return HEARTH_ERR_FAILED;
}

static void destroy(void *instance) {
  board *self = instance;
  close(self->stop[1]);
  pthread_join(self->thread, NULL);
  if (self->port >= 0) close(self->port);
  close(self->stop[0]);
  pthread_mutex_destroy(&self->lock);
  free(self);
}

/* Tells the board; the answer follows when the board says ok. */
static int32_t on_command(void *instance, const hearth_command *command) {
  board *self = instance;
  int on = command->payload.len == 2 && memcmp(command->payload.ptr, "ON", 2) == 0;
  const char *line = on ? "power ON\n" : "power OFF\n";
  ssize_t length = strlen(line);
  pthread_mutex_lock(&self->lock);
  self->waiting = command->token;
  self->wanted = on;
  if (self->port < 0 || write(self->port, line, length) != length) {
    answer(self, HEARTH_ERR_UNREACHABLE, self->port < 0 ? "the port is not open" : strerror(errno));
  }
  pthread_mutex_unlock(&self->lock);
  self->host->set_timer(self->host, 0, PATIENCE_MS);
  return HEARTH_PENDING;
}

static int32_t on_timer(void *instance, uint32_t id) {
  board *self = instance;
  (void)id;
  pthread_mutex_lock(&self->lock);
  answer(self, HEARTH_ERR_UNREACHABLE, "the board does not answer");
  pthread_mutex_unlock(&self->lock);
  return HEARTH_OK;
}

static const hearth_kind kind = {
  .struct_size = sizeof kind, .name = HEARTH_S("my-lamp"), .check_config = check_config, .describe = describe,
  .create = create, .destroy = destroy, .on_command = on_command, .on_timer = on_timer,
};
static const hearth_kind *const kinds[] = { &kind, NULL };
const hearth_entry hearth_plugin_entry_v1 = { HEARTH_PREFIX("my-lamp", "1.0"), NULL, kinds };
