/* Plays the plug while a command runs, and ends as that does: `plug TABLE COMMAND...`. It writes the table. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Answers one request after the other. It is switched on, but refuses to be switched off. After that it is asked: first
 * it is on, then somebody has switched it off at its button, and the third time it says nothing. */
static void *play(void *listener) {
  int on = 0, asked = 0;
  for (;;) {
    char request[1024] = "", reply[100] = "HTTP/1.0 500 Too hot\r\n\r\n{\"ison\": true}";
    int connection = accept(*(int *)listener, NULL, NULL);
    if (connection < 0 || recv(connection, request, sizeof request - 1, 0) < 0) exit(EXIT_FAILURE);
    if (strstr(request, "?turn=on ")) {
      on = 1;
      asked = 0;
    } else if (++asked == 2) {
      on = 0;
    } else if (asked == 3) {
      continue;
    }
    if (!strstr(request, "?turn=off ")) {
      snprintf(reply, sizeof reply, "HTTP/1.0 200 OK\r\n\r\n{\"ison\": %s}", on ? "true" : "false");
    }
    send(connection, reply, strlen(reply), MSG_NOSIGNAL);
    close(connection);
  }
}

int main(int count, char **arguments) {
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  struct sockaddr *any = (struct sockaddr *)&address;
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status;
  FILE *table = count > 2 ? fopen(arguments[1], "w") : NULL;
  pthread_t thread;
  if (!table || bind(listener, any, size) || listen(listener, 8) || getsockname(listener, any, &size)) {
    perror("plug");
    return EXIT_FAILURE;
  }
  fprintf(table, "url = \"http://127.0.0.1:%d/relay/0\"\n", ntohs(address.sin_port));
  fclose(table);
  if (pthread_create(&thread, NULL, play, &listener)) return EXIT_FAILURE;
  pid_t command = fork();
  if (command == 0) {
    execvp(arguments[2], arguments + 2);
    perror(arguments[2]);
    _exit(EXIT_FAILURE);
  }
  if (waitpid(command, &status, 0) < 0) return EXIT_FAILURE;
  return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}
