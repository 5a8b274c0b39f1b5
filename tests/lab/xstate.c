/* SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
 *
 * Preloaded into linux.uml, lets it run on a CPU whose XSAVE area is larger than the one it was built for (Intel AMX:
 * 11008 octets, not 2696). There ptrace refuses to set less than the whole area with EFAULT, and the kernel ends with
 * "ptrace set fp regs failed, errno = 14". Here a short area becomes: read the whole, overlay its beginning, write it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

typedef long (*ptrace_fn)(enum __ptrace_request, pid_t, void *, void *);

long ptrace(enum __ptrace_request request, ...)
{
    static ptrace_fn real;
    va_list args;
    va_start(args, request);
    pid_t pid = va_arg(args, pid_t);
    void *address = va_arg(args, void *);
    void *data = va_arg(args, void *);
    va_end(args);

    if (!real)
        real = (ptrace_fn)dlsym(RTLD_NEXT, "ptrace");
    if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE) {
        static __thread unsigned char area[65536] __attribute__((aligned(64)));
        struct iovec *given = data, whole = {area, sizeof area};
        if (real(PTRACE_GETREGSET, pid, address, &whole) == 0 && whole.iov_len > given->iov_len) {
            memcpy(area, given->iov_base, given->iov_len);
            return real(PTRACE_SETREGSET, pid, address, &whole);
        }
    }
    return real(request, pid, address, data);
}
