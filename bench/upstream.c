/* The upstream of the benchmark: one thread, epoll, keep-alive. It answers every complete request at once:
 *   /json  a JSON-RPC result of about 200 bytes        /sse   the same result as one server-sent event, chunked
 *   /idle  the head of an event stream and one event, then silence        /big   a result of 64 kB
 *   /list  a list of 100 tools
 * Fast enough that the gateway is what is measured. Usage: upstream PORT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST (4 << 20)
struct conn { int fd; size_t used, room; char *data; };

static char *json, *sse, *idle, *big, *list;
static size_t json_len, sse_len, idle_len, big_len, list_len;

/* echo and tool-0 to tool-98, each with a description and a schema. */
static char *tools(void) {
  char *all = malloc(65536), *at = all;
  at += sprintf(at, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[");
  for (int i = -1; i < 99; i++) {
    at += sprintf(at, i < 0 ? "{\"name\":\"echo\"" : ",{\"name\":\"tool-%d\"", i);
    at += sprintf(at, ",\"description\":\"Says what it was told, as the tools of a benchmark do.\",\"inputSchema\":{\"type\":\"object\",\"properties\":{\"message\":{\"type\":\"string\"}},\"required\":[\"message\"]},\"annotations\":{\"readOnlyHint\":true}}");
  }
  sprintf(at, "]}}");
  return all;
}

static void prepare(void) {
  const char *result = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"The quick brown fox jumps over the lazy dog, and the gateway lets it.\"}],\"structuredContent\":{\"n\":42,\"ok\":true}}}";
  json_len = asprintf(&json, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(result), result);
  char *event;
  size_t event_len = asprintf(&event, "event: message\ndata: %s\n\n", result);
  sse_len = asprintf(&sse, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n", event_len, event);
  idle_len = asprintf(&idle, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n", event_len, event);
  size_t n = 65536;
  char *text = malloc(n + 1);
  memset(text, 'x', n);
  text[n] = 0;
  char *body;
  size_t body_len = asprintf(&body, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]}}", text);
  char *listed = tools();
  list_len = asprintf(&list, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(listed), listed);
  big_len = asprintf(&big, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", body_len, body);
}

static void answer(int fd, const char *head) {
  const char *text = json;
  size_t left = json_len;
  const char *path = strchr(head, ' ');
  if (path && !strncmp(path + 1, "/sse", 4)) { text = sse; left = sse_len; }
  if (path && !strncmp(path + 1, "/idle", 5)) { text = idle; left = idle_len; }
  if (path && !strncmp(path + 1, "/big", 4)) { text = big; left = big_len; }
  if (path && !strncmp(path + 1, "/list", 5)) { text = list; left = list_len; }
  while (left > 0) {
    ssize_t n = send(fd, text, left, MSG_NOSIGNAL);
    if (n <= 0) {
      /* A reader that is slower than loopback: let it catch up. */
      if (n < 0) { usleep(50); struct tcp_info info; socklen_t size = sizeof info; if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) || info.tcpi_state != TCP_ESTABLISHED) return; continue; }
      return;
    }
    text += n;
    left -= n;
  }
}

/* Answers every complete request in the buffer; false when the connection must be closed. */
static int serve(struct conn *c) {
  for (;;) {
    c->data[c->used] = 0;
    char *end = memmem(c->data, c->used, "\r\n\r\n", 4);
    if (!end) return c->used < MOST;
    size_t head = end + 4 - c->data, body = 0;
    *end = 0;
    char *length = strcasestr(c->data, "\r\ncontent-length:");
    if (length) body = strtoul(length + 17, NULL, 10);
    *end = '\r';
    if (head + body > MOST) return 0;
    if (c->used < head + body) return 1;
    answer(c->fd, c->data);
    memmove(c->data, c->data + head + body, c->used - head - body);
    c->used -= head + body;
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return 64;
  signal(SIGPIPE, SIG_IGN);
  struct rlimit limit = {65536, 65536};
  setrlimit(RLIMIT_NOFILE, &limit);
  prepare();
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 16384)) return perror("listen"), 1;
  int poll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[512];
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  socklen_t size = sizeof at;
  getsockname(listener, (struct sockaddr *)&at, &size);
  printf("listening %d\n", ntohs(at.sin_port));
  fflush(stdout);
  for (;;) {
    int n = epoll_wait(poll, events, 512, -1);
    for (int i = 0; i < n; i++) {
      struct conn *c = events[i].data.ptr;
      if (!c) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c = calloc(1, sizeof *c);
        c->fd = fd;
        c->room = 4096;
        c->data = malloc(c->room);
        event.events = EPOLLIN;
        event.data.ptr = c;
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        continue;
      }
      if (c->room - c->used < 2048) c->data = realloc(c->data, c->room *= 4);
      ssize_t got = recv(c->fd, c->data + c->used, c->room - 1 - c->used, 0);
      if (got > 0) c->used += got;
      if (got <= 0 || !serve(c)) {
        close(c->fd);
        free(c->data);
        free(c);
      }
    }
  }
}
