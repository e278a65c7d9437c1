/*
 * Sends requests when they are due, whether or not those before have been answered, as `open-load.ts` tells it, and
 * prints a `Load`. In C, and before all others on its processor if it may be: a client that costs as much as the
 * server, or waits for its turn, would be measured in the server's place.
 *
 * `sleepless` in place of requests per second: each connection asks again as soon as it was answered, and the client
 * asks the kernel without a pause, so that no server has to wake it.
 *
 * Arguments: address and port (IPv4), requests per second, seconds, connections, and the request as it is sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_BYTES 8192
/* After the last request was due. */
#define GRACE_MS 30000
/* Where the number of requests is not known before. */
#define MOST_PER_SECOND 1000000

struct connection {
  int socket;
  /* When the request under way was due. */
  double due_ms;
  /* Of the answer's head, as far as it has come, and of what is missing of its body; -1: the head has not come. */
  char head[HEAD_BYTES];
  size_t head_bytes;
  long missing;
};

static void fail(const char *why) {
  fprintf(stderr, "%s\n", why);
  exit(1);
}

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void dial(struct connection *to, const char *address, int port, int poll) {
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = to};
  int yes = 1;
  to->socket = socket(AF_INET, SOCK_STREAM, 0);
  to->missing = -1;
  if (inet_pton(AF_INET, address, &server.sin_addr) != 1) fail("no IPv4 address");
  if (connect(to->socket, (struct sockaddr *)&server, sizeof server) != 0) fail("cannot connect");
  setsockopt(to->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (epoll_ctl(poll, EPOLL_CTL_ADD, to->socket, &event) != 0) fail("cannot wait for a connection");
}

static void ask(struct connection *to, const char *request, double due_ms) {
  size_t bytes = strlen(request);
  to->due_ms = due_ms;
  if (write(to->socket, request, bytes) != (ssize_t)bytes) fail("cannot send a request");
}

/* Takes what has come; true when the answer is whole. */
static int take(struct connection *from) {
  static char bytes[256 * 1024];
  ssize_t count = read(from->socket, bytes, sizeof bytes);
  if (count <= 0) fail("the server has closed a connection");
  if (from->missing >= 0) {
    from->missing -= count;
  } else {
    size_t room = HEAD_BYTES - 1 - from->head_bytes;
    size_t copied = (size_t)count < room ? (size_t)count : room;
    memcpy(from->head + from->head_bytes, bytes, copied);
    size_t before = from->head_bytes;
    from->head_bytes += copied;
    from->head[from->head_bytes] = 0;
    char *end = strstr(from->head, "\r\n\r\n");
    if (end == NULL) {
      if (copied < (size_t)count) fail("the head of an answer is too long");
      return 0;
    }
    end[2] = 0;
    char *length = strcasestr(from->head, "\r\ncontent-length:");
    if (strncmp(from->head, "HTTP/1.1 200 ", 13) != 0 || length == NULL) fail(from->head);
    long body_bytes = (long)(before + count) - (end + 4 - from->head);
    from->missing = atol(length + strlen("\r\ncontent-length:")) - body_bytes;
    from->head_bytes = 0;
  }
  if (from->missing > 0) return 0;
  if (from->missing < 0) fail("an answer was longer than it said");
  from->missing = -1;
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 7) fail("six arguments are needed");
  int sleepless = strcmp(argv[3], "sleepless") == 0;
  double per_second = sleepless ? MOST_PER_SECOND : atof(argv[3]), seconds = atof(argv[4]);
  int connections = atoi(argv[5]), poll = epoll_create1(0);
  const char *request = argv[6];
  long total = per_second * seconds < 1 ? 1 : (long)(per_second * seconds), sent = 0, answered = 0;
  struct connection *all = calloc(connections, sizeof *all);
  /* A ring: the one that has had nothing to do for longest is the next, so that all of them are used. */
  struct connection **idle = calloc(connections, sizeof *idle);
  long next = 0, freed = 0;
  double *latencies = calloc(total, sizeof *latencies);
  if (all == NULL || idle == NULL || latencies == NULL) fail("no memory");
  /* Only root may. One that never sleeps would let nobody else on its processor, not even the server. */
  if (!sleepless) setpriority(PRIO_PROCESS, 0, -20);
  /* A server may take its time to accept connections, and that is not to be measured: each has been used before. */
  for (; freed < connections; freed++) {
    struct connection *one = idle[freed] = &all[freed];
    dial(one, argv[1], atoi(argv[2]), poll);
    ask(one, request, 0);
    while (!take(one)) continue;
  }
  double started = now_ms(), end = started + seconds * 1000, now = started;
  while (sleepless ? now < end : answered < total) {
    if (now > end + GRACE_MS) fail("answers are missing");
    for (; next < freed && sent < total; sent++) {
      double due = sleepless ? now : started + sent * 1000 / per_second;
      if (due > now) break;
      ask(idle[next++ % connections], request, due);
    }
    double wait_ms = next < freed && sent < total ? started + sent * 1000 / per_second - now_ms() : 1000;
    struct timespec timeout = {.tv_sec = 0, .tv_nsec = wait_ms <= 0 ? 0 : wait_ms < 900 ? (long)(wait_ms * 1e6) : 900000000};
    if (sleepless) timeout.tv_nsec = 0;
    struct epoll_event ready[64];
    int count = epoll_pwait2(poll, ready, 64, &timeout, NULL);
    if (sleepless && count == 0) sched_yield();
    for (int index = 0; index < count; index++) {
      struct connection *one = ready[index].data.ptr;
      if (!take(one)) continue;
      latencies[answered++] = now_ms() - one->due_ms;
      idle[freed++ % connections] = one;
    }
    now = now_ms();
  }
  if (answered == 0) fail("no answer came");
  qsort(latencies, answered, sizeof *latencies, ascending);
  printf("{\"requests\":%ld,\"seconds\":%.4f,\"p50Ms\":%.4f,\"p99Ms\":%.4f}\n", answered, (now - started) / 1000,
         latencies[answered / 2], latencies[answered * 99 / 100]);
  return 0;
}
