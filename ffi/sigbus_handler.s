# The handler of SIGBUS, for x86-64: where guest memory was, there are zero pages from now on.
#
# It runs in whichever thread touched a page that its file no longer has, in the middle of anything, so
# it calls nothing but the kernel, and touches only its stack and the table (page_guard.ts writes it),
# which lies one page behind the code:
#
#   0   the handler before this one; 0 or 1 where the system's default was
#   8   how many ranges follow
#   16  a struct sigaction of the kernel that asks for the default: all zero
#   48  ranges: first address, address behind the last, how often it was replaced
#
# void handler(int signal, siginfo_t *info, void *context): edi, rsi, rdx. No register has to be kept;
# the kernel brings back those of the interrupted code.

    .intel_syntax noprefix
    .set TABLE, 4096
    .set SIGBUS, 7                # bits/signum-arch.h
    .set SI_ADDR, 16              # siginfo_t (bits/types/siginfo_t.h)
    .set MMAP, 9                  # asm/unistd_64.h
    .set RT_SIGACTION, 13
    .set READ_WRITE, 3            # PROT_READ | PROT_WRITE
    .set REPLACE, 0x4032          # MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE

start:
    mov   rax, [rsi + SI_ADDR]
    lea   rcx, [rip + start + TABLE]
    mov   r8, [rcx + 8]
    lea   r9, [rcx + 48]
next:
    sub   r8, 1
    js    foreign
    cmp   rax, [r9]
    jb    skip
    cmp   rax, [r9 + 8]
    jb    found
skip:
    add   r9, 24
    jmp   next

found:                            # mmap(first, behind - first, READ_WRITE, REPLACE, -1, 0)
    push  rdi
    push  rsi
    push  rdx
    push  r9
    mov   rdi, [r9]
    mov   rsi, [r9 + 8]
    sub   rsi, rdi
    mov   edx, READ_WRITE
    mov   r10d, REPLACE
    mov   r8, -1
    xor   r9d, r9d
    mov   eax, MMAP
    syscall
    pop   r9
    pop   rdx
    pop   rsi
    pop   rdi
    lea   rcx, [rip + start + TABLE]
    test  rax, rax
    js    foreign
    lock inc qword ptr [r9 + 16]
    ret

foreign:                          # somebody else's fault: as if we were not here
    mov   rax, [rcx]
    cmp   rax, 1
    jbe   default
    jmp   rax
default:                          # rt_sigaction(SIGBUS, &default, NULL, 8); it happens again, and ends
    mov   edi, SIGBUS
    lea   rsi, [rcx + 16]
    xor   edx, edx
    mov   r10d, 8
    mov   eax, RT_SIGACTION
    syscall
    ret
