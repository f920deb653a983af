/* Plays the board while a command runs, and ends as that does: `board TABLE COMMAND...`. It writes the table. */
#define _XOPEN_SOURCE 700
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINK "build/port" /* to the port: a pseudo terminal of which the board is the other end */

static FILE *board;
static int port;

static void plug_in(void) {
  int number = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  unlink(LINK); /* of a test that was interrupted */
  if (number < 0 || grantpt(number) || unlockpt(number) || symlink(ptsname(number), LINK)) {
    perror("board");
    exit(EXIT_FAILURE);
  }
  port = open(LINK, O_RDWR | O_NOCTTY | O_CLOEXEC); /* keeps the terminal while the device has not opened it */
  board = fdopen(number, "r");
}

static void unplug(void) {
  unlink(LINK);
  close(port);
  fclose(board);
}

/* Takes one line after the other: it does what the first one says, refuses the second one, says nothing to the third
 * one, and is unplugged and plugged in again at the fourth one. */
static void *play(void *unused) {
  static const char *const answers[] = { "temperature 21.5\nok\n", "error too hot\n", "" };
  char line[100];
  for (size_t heard = 0; fgets(line, sizeof line, board); heard++) {
    if (heard < 3) {
      if (write(fileno(board), answers[heard], strlen(answers[heard])) < 0) break;
    } else {
      unplug();
      plug_in();
    }
  }
  return unused;
}

int main(int count, char **arguments) {
  char folder[1000];
  int status;
  FILE *table = count > 2 ? fopen(arguments[1], "w") : NULL;
  pthread_t thread;
  if (!table || !getcwd(folder, sizeof folder)) {
    perror("board");
    return EXIT_FAILURE;
  }
  fprintf(table, "port = '%s/" LINK "'\nspeed = 9600\n", folder);
  fclose(table);
  plug_in();
  if (pthread_create(&thread, NULL, play, NULL)) return EXIT_FAILURE;
  pid_t command = fork();
  if (command == 0) {
    execvp(arguments[2], arguments + 2);
    perror(arguments[2]);
    _exit(EXIT_FAILURE);
  }
  if (waitpid(command, &status, 0) < 0) return EXIT_FAILURE;
  unlink(LINK);
  return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}
