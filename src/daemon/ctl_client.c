/* ctl_client.c: see ctl_client.h. */
#include "ctl_client.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "ctl.h"

static int connect_to(const char *path, int *fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	int err;

	if (stat(path, &st)) {
		err = -errno;
		log_error("%s: %s", path, strerror(-err));
		return err == -ENOENT ? -ENODEV : err;
	}
	err = ctl_path(st.st_dev, false, addr.sun_path);
	if (err)
		return err;
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		return -errno;
	if (!connect(*fd, (struct sockaddr *)&addr, sizeof(addr)))
		return 0;
	err = errno == ECONNREFUSED ? -ENOENT : -errno;
	close(*fd);
	return err;
}

static int send_request(int fd, const char *verb, json_t *args)
{
	json_t *request = json_pack("{s:s,s:o}", "verb", verb, "args", args ? args : json_array());
	char *text = json_dumps(request, JSON_COMPACT);
	int err = -ENOMEM;

	if (text) {
		const size_t len = strlen(text) + 1;

		text[len - 1] = '\n';
		err = send(fd, text, len, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -EPIPE;
	}
	free(text);
	json_decref(request);
	return err;
}

/* Waits as long as it takes: an unmount answers when everything is written. */
static json_t *receive_reply(int fd)
{
	FILE *f = fdopen(dup(fd), "r");
	json_t *reply = NULL;

	if (f) {
		reply = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL);
		fclose(f);
	}
	return reply;
}

int ctl_ask(const char *path, const char *verb, json_t *args, json_t **result)
{
	json_t *reply;
	int fd, err = connect_to(path, &fd);

	if (err) {
		json_decref(args);
		return err;
	}
	err = send_request(fd, verb, args);
	reply = err ? NULL : receive_reply(fd);
	close(fd);
	if (!reply) {
		log_error("%s: the daemon did not answer", path);
		return -EPIPE;
	}
	if (json_is_true(json_object_get(reply, "ok"))) {
		*result = json_incref(json_object_get(reply, "result"));
	} else {
		const char *text = json_string_value(json_object_get(reply, "error"));

		log_error("%s: %s", path, text ? text : "an answer that makes no sense");
		err = -EIO;
	}
	json_decref(reply);
	return err;
}
