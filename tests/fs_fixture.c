/* fs_fixture.c: see fs_fixture.h. */
#include "fs_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/log.h"
#include "base/size.h"

enum {
	COPY_BYTES = 64 << 10,
	LOG_BYTES = 64 << 10,
	START_SEC = 1700000000,
	TICK_NSEC = 1000000,
	CACHE_BYTES = 8 << 20,
};
#define TOOL_PATH "PATH=\"$PATH:/usr/sbin:/sbin\"; export PATH; "

/* Log ------------------------------------------------------------------------------- */

static struct {
	pthread_mutex_t lock;
	size_t len;
	char text[LOG_BYTES];
} kept_log = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void keep_line(void *arg, enum log_level level, const char *line)
{
	if (level == LOG_LEVEL_DEBUG)
		return;
	pthread_mutex_lock(&kept_log.lock);
	if (kept_log.len + strlen(line) + 2 < LOG_BYTES)
		kept_log.len += (size_t)sprintf(kept_log.text + kept_log.len, "%s\n", line);
	pthread_mutex_unlock(&kept_log.lock);
	if (getenv("OSFS_TEST_LOG"))
		fprintf(stderr, "log: %s\n", line);
}

const char *fsx_log(void)
{
	return kept_log.text;
}

void fsx_log_clear(void)
{
	pthread_mutex_lock(&kept_log.lock);
	kept_log.len = 0;
	kept_log.text[0] = '\0';
	pthread_mutex_unlock(&kept_log.lock);
}

/* Commands -------------------------------------------------------------------------- */

static char *read_all(FILE *f)
{
	char *text = NULL;
	size_t len = 0, n;
	char buf[4096];
	FILE *out = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(out);
	while ((n = fread(buf, 1, sizeof(buf), f)))
		fwrite(buf, 1, n, out);
	fclose(out);
	return text;
}

char *fsx_shell(int *status, const char *fmt, ...)
{
	char *cmd, *full, *text;
	va_list ap;
	FILE *f;
	int st;

	va_start(ap, fmt);
	ck_assert_int_ge(vasprintf(&cmd, fmt, ap), 0);
	va_end(ap);
	ck_assert_int_ge(asprintf(&full, TOOL_PATH "{ %s; } 2>&1 </dev/null", cmd), 0);
	f = popen(full, "r");
	ck_assert_ptr_nonnull(f);
	text = read_all(f);
	st = pclose(f);
	st = WIFEXITED(st) ? WEXITSTATUS(st) : 128;
	if (status)
		*status = st;
	else
		ck_assert_msg(st == 0, "%s: exit status %d:\n%s", cmd, st, text);
	free(full);
	free(cmd);
	return text;
}

void fsx_need_tools(void)
{
	if (system(TOOL_PATH "command -v mke2fs && command -v e2fsck && command -v debugfs >/dev/null") == 0)
		return;
	fputs("skipped: mke2fs, e2fsck and debugfs are needed (Debian package e2fsprogs)\n", stderr);
	exit(77);
}

/* Making and freeing ---------------------------------------------------------------- */

static struct timespec clock_look(void *arg)
{
	struct fsx *x = arg;
	const uint64_t now = atomic_fetch_add(&x->now_nsec, TICK_NSEC);

	return (struct timespec){ START_SEC + (time_t)(now / 1000000000), (long)(now % 1000000000) };
}

static uint64_t size_of(const char *size)
{
	uint64_t bytes;

	ck_assert_int_eq(size_parse(size, &bytes), 0);
	return bytes;
}

static char *private_dir(void)
{
	const char *base = getenv("TMPDIR");
	char *dir;

	if (!base)
		base = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
	ck_assert_int_ge(asprintf(&dir, "%s/osfs-test-XXXXXX", base), 0);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	return dir;
}

/* With OSFS_TEST_JOURNAL set, filesystems that tests make without a journal get one: all tests hold with it, too. */
static char *settle_opts(const char *mke2fs_opts)
{
	static const char without[] = "^has_journal";
	const char *at = getenv("OSFS_TEST_JOURNAL") ? strstr(mke2fs_opts, without) : NULL;
	char *opts;

	if (at)
		ck_assert_int_ge(asprintf(&opts, "%.*shas_journal%s", (int)(at - mke2fs_opts), mke2fs_opts,
					  at + strlen(without)), 0);
	else
		opts = strdup(mke2fs_opts);
	return opts;
}

struct fsx *fsx_new(const char *size, const char *mke2fs_opts)
{
	struct fsx *x = calloc(1, sizeof(*x));
	char *opts = settle_opts(mke2fs_opts);
	int fd;

	log_set_sink(keep_line, NULL);
	ck_assert_ptr_nonnull(x);
	x->dir = private_dir();
	ck_assert_int_ge(asprintf(&x->image, "%s/image", x->dir), 0);
	fd = open(x->image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size_of(size)), 0);
	close(fd);
	free(fsx_shell(NULL, "MKE2FS_SKIP_CHECK_MSG=1 mke2fs -q -F -t ext4 -E hash_seed=%s %s %s",
		       "6f736673-0000-4000-8000-000000000001", opts, x->image));
	free(opts);
	x->opts = (struct fs_opts){
		.cache_bytes = CACHE_BYTES, .now = clock_look, .now_arg = x, .seed = 1,
	};
	return x;
}

void fsx_free(struct fsx *x)
{
	if (!x)
		return;
	if (x->fs)
		fsx_unmount(x);
	ck_assert_int_eq(unlink(x->image), 0);
	ck_assert_int_eq(rmdir(x->dir), 0);
	free(x->image);
	free(x->dir);
	free(x);
}

/* Between image and device ---------------------------------------------------------- */

static int image_open(const struct fsx *x)
{
	const int fd = open(x->image, O_RDWR | O_CLOEXEC);

	ck_assert_msg(fd >= 0, "%s: %s", x->image, strerror(errno));
	return fd;
}

static void image_load(struct fsx *x)
{
	const int fd = image_open(x);
	uint8_t *buf = malloc(COPY_BYTES);
	off_t pos = 0;
	ssize_t n;

	while ((pos = lseek(fd, pos, SEEK_DATA)) >= 0) {
		pos = ALIGN_DOWN(pos, COPY_BYTES);
		n = pread(fd, buf, COPY_BYTES, pos);
		if (n <= 0)
			break;
		ck_assert_int_eq(blk_write(x->dev, (sect_t)pos >> SECT_SHIFT, buf, (size_t)n), 0);
		pos += n;
	}
	free(buf);
	close(fd);
}

static bool is_zero(const uint8_t *buf, size_t len)
{
	return buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0;
}

static void image_save(struct fsx *x)
{
	const int fd = image_open(x);
	const uint64_t len = blk_nr_sects(x->dev) << SECT_SHIFT;
	uint8_t *buf = malloc(COPY_BYTES);

	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
	for (uint64_t pos = 0; pos < len; pos += COPY_BYTES) {
		const size_t n = MIN((size_t)COPY_BYTES, (size_t)(len - pos));

		ck_assert_int_eq(blk_read(x->dev, pos >> SECT_SHIFT, buf, n), 0);
		if (!is_zero(buf, n))
			ck_assert_int_eq(pwrite(fd, buf, n, (off_t)pos), (ssize_t)n);
	}
	free(buf);
	close(fd);
}

static void device_open(struct fsx *x)
{
	char *spec;
	int fd = image_open(x);
	const off_t len = lseek(fd, 0, SEEK_END);

	close(fd);
	if (x->in_file)
		ck_assert_int_ge(asprintf(&spec, "%sfile:%s", x->filter ? x->filter : "", x->image), 0);
	else
		ck_assert_int_ge(asprintf(&spec, "%smem:%jd", x->filter ? x->filter : "", (intmax_t)len), 0);
	ck_assert_int_eq(blk_open(spec, &(struct blk_open_opts){ .read_only = x->in_file && x->opts.read_only },
				  &x->dev), 0);
	free(spec);
	if (!x->in_file)
		image_load(x);
}

static void device_close(struct fsx *x)
{
	if (!x->in_file)
		image_save(x);
	blk_close(x->dev);
	x->dev = NULL;
}

int fsx_try_mount(struct fsx *x)
{
	int err;

	ck_assert_ptr_null(x->fs);
	ck_assert_int_eq(alloc_new(&(struct alloc_opts){ .redzone = true }, &x->alloc), 0);
	device_open(x);
	x->opts.alloc = x->alloc;
	err = fs_open(x->dev, &x->opts, &x->fs);
	ck_assert(err ? !x->fs : !!x->fs);
	if (err) {
		device_close(x);
		ck_assert_uint_eq(alloc_free(x->alloc), 0);
	}
	return err;
}

void fsx_mount(struct fsx *x)
{
	const int err = fsx_try_mount(x);

	ck_assert_msg(!err, "%s: fs_open: %s\n%s", x->image, strerror(-err), fsx_log());
}

int fsx_try_unmount(struct fsx *x)
{
	const int err = fs_close(x->fs);

	x->fs = NULL;
	device_close(x);
	ck_assert_msg(alloc_free(x->alloc) == 0, "%s: memory leaked:\n%s", x->image, fsx_log());
	return err;
}

void fsx_crash(struct fsx *x)
{
	image_save(x);
	(void)!fs_close(x->fs);
	x->fs = NULL;
	blk_close(x->dev);
	x->dev = NULL;
	ck_assert_uint_eq(alloc_free(x->alloc), 0);
}

void fsx_unmount(struct fsx *x)
{
	const int err = fsx_try_unmount(x);

	ck_assert_msg(!err, "%s: fs_close: %s\n%s", x->image, strerror(-err), fsx_log());
}

/* Judges ----------------------------------------------------------------------------- */

int fsx_fsck_status(struct fsx *x, const char *opts, char **output)
{
	int status;
	char *text = fsx_shell(&status, "e2fsck %s %s", opts, x->image);

	if (output)
		*output = text;
	else
		free(text);
	return status;
}

void fsx_fsck(struct fsx *x)
{
	char *text;
	const int status = fsx_fsck_status(x, "-fn", &text);

	ck_assert_msg(status == 0, "%s: e2fsck -fn: exit status %d:\n%s%s", x->image, status, text, fsx_log());
	free(text);
}

void fsx_done(struct fsx *x)
{
	fsx_unmount(x);
	fsx_fsck(x);
}

char *fsx_debugfs(struct fsx *x, const char *request)
{
	return fsx_shell(NULL, "debugfs -R '%s' %s 2>/dev/null", request, x->image);
}

void fsx_debugfs_write(struct fsx *x, const char *request)
{
	free(fsx_shell(NULL, "debugfs -w -R '%s' %s", request, x->image));
}

void fsx_peek(struct fsx *x, uint64_t off_bytes, void *buf, size_t len_bytes)
{
	const int fd = image_open(x);

	ck_assert_int_eq(pread(fd, buf, len_bytes, (off_t)off_bytes), (ssize_t)len_bytes);
	close(fd);
}

void fsx_poke(struct fsx *x, uint64_t off_bytes, const void *buf, size_t len_bytes)
{
	const int fd = image_open(x);

	ck_assert_int_eq(pwrite(fd, buf, len_bytes, (off_t)off_bytes), (ssize_t)len_bytes);
	close(fd);
}

uint32_t fsx_image_crc(struct fsx *x)
{
	const int fd = image_open(x);
	uint8_t *buf = malloc(COPY_BYTES);
	uint32_t crc = ~0u;
	ssize_t n;

	while ((n = read(fd, buf, COPY_BYTES)) > 0)
		crc = crc32c(crc, buf, (size_t)n);
	ck_assert_int_eq(n, 0);
	free(buf);
	close(fd);
	return crc;
}
