/* ctl_socket.c: the thread that listens, the lines that come and go. See ctl.h. */
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "ctl.h"

enum { MAX_WAITERS = 16 };

struct ctl {
	struct daemon *d;
	pthread_t thread;
	int listen_fd, stop_fd;
	char path[CTL_PATH_BYTES];
	int waiters[MAX_WAITERS];	/* connections that are told of the end; the thread's, then ctl_free's */
	unsigned nr_waiters;
};

static void send_json(int fd, json_t *reply)
{
	char *text = json_dumps(reply, JSON_COMPACT);
	const char *at = text;
	size_t left = text ? strlen(text) : 0;

	if (left) {
		text[left++] = '\n';	/* in the place of the NUL */
		while (left > 0) {
			const ssize_t n = send(fd, at, left, MSG_NOSIGNAL);

			if (n <= 0)
				break;	/* it has gone */
			at += n;
			left -= (size_t)n;
		}
	}
	free(text);
	json_decref(reply);
}

static void send_error(int fd, const char *text)
{
	send_json(fd, json_pack("{s:b,s:s}", "ok", 0, "error", text));
}

/* One line without its end; -EMSGSIZE, -ETIMEDOUT, -EPIPE. */
static int receive_line(int fd, char *buf, size_t cap)
{
	size_t len = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		const char *end;
		ssize_t n;

		if (poll(&p, 1, CTL_TIMEOUT_MSEC) <= 0)
			return -ETIMEDOUT;
		n = recv(fd, buf + len, cap - 1 - len, 0);
		if (n <= 0)
			return -EPIPE;
		end = memchr(buf + len, '\n', (size_t)n);
		len += (size_t)n;
		if (end) {
			buf[end - buf] = 0;
			return 0;
		}
		if (len == cap - 1)
			return -EMSGSIZE;
	}
}

static const struct ctl_verb *find_verb(const char *name)
{
	for (const struct ctl_verb *v = ctl_verbs; v->name; v++)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

/* What went wrong, as it was told while the verb ran: its first error, else the first other message. */
struct reason {
	enum log_level level;
	char text[512];
};

static void keep_reason(void *arg, enum log_level level, const char *line)
{
	struct reason *r = arg;

	if (!r->text[0] || level < r->level) {
		r->level = level;
		snprintf(r->text, sizeof(r->text), "%s", line);
	}
}

/* Returns true when the connection is kept until the end of the mount. */
static bool serve_request(struct ctl *c, int fd, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "verb"));
	const json_t *args = json_object_get(request, "args");
	const struct ctl_verb *verb = name ? find_verb(name) : NULL;
	json_t *result = NULL;
	struct reason reason = { 0 };
	char *text = NULL;
	int err;

	if (!verb) {
		send_error(fd, name ? "unknown verb" : "no verb");
		return false;
	}
	log_tap(keep_reason, &reason);
	err = verb->run(c->d, args, &result, &text);
	log_tap(NULL, NULL);
	if (err == 1 && c->nr_waiters < MAX_WAITERS) {
		c->waiters[c->nr_waiters++] = fd;
		return true;
	}
	if (err < 0)
		send_error(fd, text ? text : reason.text[0] ? reason.text : strerror(-err));
	else
		send_json(fd, json_pack("{s:b,s:o}", "ok", 1, "result", result ? result : json_object()));
	free(text);
	return false;
}

static bool peer_may(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) && (cred.uid == getuid() || cred.uid == 0);
}

static void serve_connection(struct ctl *c, int fd)
{
	static const struct timeval limit = { .tv_sec = CTL_TIMEOUT_MSEC / 1000 };
	char *line = malloc(CTL_MAX_LINE_BYTES);
	json_t *request = NULL;
	bool keep = false;
	int err;

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	err = !line ? -ENOMEM : !peer_may(fd) ? -EPERM : receive_line(fd, line, CTL_MAX_LINE_BYTES);
	if (err == -EMSGSIZE)
		send_error(fd, "the request is too long");
	else if (err && err != -EPIPE)
		send_error(fd, strerror(-err));
	if (!err) {
		request = json_loads(line, 0, NULL);
		if (json_is_object(request))
			keep = serve_request(c, fd, request);
		else
			send_error(fd, "the request is no JSON object");
	}
	json_decref(request);
	free(line);
	if (!keep)
		close(fd);
}

static void *ctl_main(void *arg)
{
	struct ctl *c = arg;
	struct pollfd fds[] = { { .fd = c->listen_fd, .events = POLLIN }, { .fd = c->stop_fd, .events = POLLIN } };

	for (;;) {
		int fd;

		if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			break;
		if (!fds[0].revents)
			continue;
		fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			serve_connection(c, fd);
	}
	return NULL;
}

static int open_socket(struct ctl *c, dev_t dev)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int err = ctl_path(dev, true, c->path);

	if (err)
		return err;
	memcpy(addr.sun_path, c->path, sizeof(addr.sun_path));
	c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->listen_fd < 0)
		return -errno;
	unlink(c->path);	/* the rest of an earlier mount with this device number */
	if (bind(c->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(c->listen_fd, 8))
		return -errno;
	return 0;
}

struct ctl *ctl_start(struct daemon *d, dev_t dev)
{
	struct ctl *c = calloc(1, sizeof(*c));
	int err = -ENOMEM;

	if (c) {
		c->d = d;
		c->listen_fd = -1;
		c->stop_fd = eventfd(0, EFD_CLOEXEC);
		err = c->stop_fd < 0 ? -errno : open_socket(c, dev);
		if (!err)
			err = -pthread_create(&c->thread, NULL, ctl_main, c);
	}
	if (!err)
		return c;
	log_warn("no control socket (osfsctl will not work on %s): %s", d->o.mountpoint, strerror(-err));
	if (c) {
		close(c->listen_fd);
		close(c->stop_fd);
		free(c);
	}
	return NULL;
}

void ctl_stop(struct ctl *c)
{
	if (!c)
		return;
	eventfd_write(c->stop_fd, 1);
	pthread_join(c->thread, NULL);
	unlink(c->path);
	close(c->listen_fd);
	close(c->stop_fd);
}

void ctl_free(struct ctl *c, int err)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->nr_waiters; i++) {
		if (err)
			send_error(c->waiters[i], strerror(-err));
		else
			send_json(c->waiters[i], json_pack("{s:b,s:{}}", "ok", 1, "result"));
		close(c->waiters[i]);
	}
	free(c);
}
