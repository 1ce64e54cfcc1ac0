/*
 * A wide network on one machine: a router between network namespaces that delays what it carries.
 *
 *   wan NAME=ADDRESS/ROUND_TRIP_MS...
 *
 * The first place is the namespace of the caller, the others are made. In each there is a TUN device with the ADDRESS
 * (IPv4, /24) whose packets come here. ROUND_TRIP_MS is the way from a place to the middle and back: a packet between two
 * made places takes half of both. Nothing is delayed on the way from or to the caller.
 *
 * Prints a line "NAME DESCRIPTOR" for each made place: /proc/PID/fd/DESCRIPTOR is its namespace. Ends when its input
 * does. The devices and the namespaces are gone with the last process that uses them, so there is nothing to clean up.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PLACES_MAX = 16, PACKET_MAX = 1500, QUEUE_MAX = 1 << 16, BURST_MAX = 64 };

struct place {
  char name[32];
  in_addr_t address;
  double round_trip_ms;
  int device;
};

struct packet {
  double due_ms;
  unsigned long number; /* Of two that are due together, the earlier goes first. */
  int to, length;
  unsigned char bytes[PACKET_MAX];
};

static struct place places[PLACES_MAX];
static int place_count;

/* A heap: the packet that is due first is at 0. */
static struct packet *queue[QUEUE_MAX];
static int queued;
static unsigned long numbered;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static int is_before(const struct packet *a, const struct packet *b) {
  return a->due_ms < b->due_ms || (a->due_ms == b->due_ms && a->number < b->number);
}

static void put(struct packet *packet) {
  int at = queued++;
  for (; at > 0 && is_before(packet, queue[(at - 1) / 2]); at = (at - 1) / 2) queue[at] = queue[(at - 1) / 2];
  queue[at] = packet;
}

static struct packet *take(void) {
  struct packet *first = queue[0], *last = queue[--queued];
  int at = 0;
  for (int child = 1; child < queued; child = 2 * at + 1) {
    if (child + 1 < queued && is_before(queue[child + 1], queue[child])) child++;
    if (!is_before(queue[child], last)) break;
    queue[at] = queue[child];
    at = child;
  }
  queue[at] = last;
  return first;
}

static void set_up(int control, const char *name, in_addr_t address) {
  struct ifreq request = {0};
  strcpy(request.ifr_name, name);
  if (address) {
    struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = address;
    if (ioctl(control, SIOCSIFADDR, &request)) fail("address");
    in->sin_addr.s_addr = inet_addr("255.255.255.0");
    if (ioctl(control, SIOCSIFNETMASK, &request)) fail("netmask");
    request.ifr_mtu = PACKET_MAX;
    if (ioctl(control, SIOCSIFMTU, &request)) fail("mtu");
    /* A burst that waits for this process is not lost: the usual 500 packets are less than a window of TCP. */
    request.ifr_qlen = QUEUE_MAX;
    if (ioctl(control, SIOCSIFTXQLEN, &request)) fail("txqueuelen");
  }
  if (ioctl(control, SIOCGIFFLAGS, &request)) fail("flags");
  request.ifr_flags |= IFF_UP;
  if (ioctl(control, SIOCSIFFLAGS, &request)) fail("up");
}

/* Of TCP in the namespace that this process is in. Where the system does not let it be set, it stays as it is. */
static void set_tcp(const char *name, const char *value) {
  char path[64];
  snprintf(path, sizeof path, "/proc/sys/net/ipv4/tcp_%s", name);
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  if (write(file, value, strlen(value)) < 0 && errno != EPERM && errno != EACCES) fail(name);
  close(file);
}

/* Makes the device of a place in the namespace that this process is in. */
static void open_device(struct place *place) {
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  strcpy(request.ifr_name, "perigee%d");
  place->device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (place->device < 0 || ioctl(place->device, TUNSETIFF, &request)) fail("/dev/net/tun");
  int control = socket(AF_INET, SOCK_DGRAM, 0);
  if (control < 0) fail("socket");
  set_up(control, "lo", 0);
  set_up(control, request.ifr_name, place->address);
  close(control);
}

static void open_place(const char *text, int is_made) {
  char address[32];
  struct place *place = &places[place_count++];
  if (sscanf(text, "%31[a-z0-9-]=%31[0-9.]/%lf", place->name, address, &place->round_trip_ms) != 3) {
    fprintf(stderr, "%s is no place\n", text);
    exit(1);
  }
  place->address = inet_addr(address);
  if (is_made) {
    if (unshare(CLONE_NEWNET)) fail("unshare");
    /* As docs/edges.md advises, whatever the host has: BBR sends the pages of a write slowly, and so does an idle link. */
    set_tcp("congestion_control", "reno");
    set_tcp("slow_start_after_idle", "0");
    printf("%s %d\n", place->name, open("/proc/self/ns/net", O_RDONLY));
  }
  open_device(place);
}

/* Takes what a place has sent; a packet for nobody, or one too many, is lost. */
static void receive(int from) {
  for (int i = 0; i < BURST_MAX; i++) {
    struct packet *packet = malloc(sizeof *packet);
    if (!packet) fail("malloc");
    packet->length = read(places[from].device, packet->bytes, PACKET_MAX);
    int to = 0, is_ipv4 = packet->length >= 20 && packet->bytes[0] >> 4 == 4;
    while (is_ipv4 && to < place_count && memcmp(packet->bytes + 16, &places[to].address, 4)) to++;
    if (!is_ipv4 || to == place_count || queued == QUEUE_MAX) {
      int is_empty = packet->length < 0;
      free(packet);
      if (is_empty) return;
      continue;
    }
    int is_near = from == 0 || to == 0;
    packet->due_ms = now_ms() + (is_near ? 0 : (places[from].round_trip_ms + places[to].round_trip_ms) / 2);
    packet->number = numbered++;
    packet->to = to;
    put(packet);
  }
}

/* Hands over what is due. A device that is full loses it, as a network may. */
static void deliver(void) {
  while (queued && queue[0]->due_ms <= now_ms()) {
    struct packet *packet = take();
    if (write(places[packet->to].device, packet->bytes, packet->length) < 0 && errno != EAGAIN && errno != ENOBUFS)
      fail("write");
    free(packet);
  }
}

int main(int count, char **arguments) {
  if (count < 3 || count > PLACES_MAX) return 2;
  for (int i = 1; i < count; i++) open_place(arguments[i], i > 1);
  puts("ready");
  fflush(stdout);
  struct pollfd polled[PLACES_MAX + 1];
  for (int i = 0; i < place_count; i++) polled[i] = (struct pollfd){.fd = places[i].device, .events = POLLIN};
  polled[place_count] = (struct pollfd){.fd = 0, .events = POLLIN};
  for (;;) {
    double wait_ms = queued ? queue[0]->due_ms - now_ms() : 1e6;
    if (wait_ms < 0) wait_ms = 0;
    struct timespec timeout = {.tv_sec = wait_ms / 1e3, .tv_nsec = (long)(wait_ms * 1e6) % 1000000000L};
    if (ppoll(polled, place_count + 1, &timeout, NULL) < 0) fail("poll");
    if (polled[place_count].revents) return 0;
    for (int i = 0; i < place_count; i++)
      if (polled[i].revents) receive(i);
    deliver();
  }
}
