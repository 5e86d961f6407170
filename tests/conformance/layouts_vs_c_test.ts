/**
 * Sizes, offsets and numbers against the C headers of the kernel and of libc: a small C program
 * prints what the compiler knows.
 *
 * @module
 */
import { deepStrictEqual, ok } from "node:assert/strict";
import { join } from "node:path";
import * as ethernet from "../../src/ethernet/frame.ts";
import { OsError } from "../../ffi/errno.ts";
import * as libc from "../../ffi/layouts.ts";
import * as vhostUser from "../../src/vhost_user/layouts.ts";
import * as virtio from "../../src/virtio/layouts.ts";
import type { Fields, Layout } from "../../src/layout/struct.ts";
import { findProgram } from "../support/console_process.ts";
import { testWith } from "../support/test_with.ts";

const HEADERS = [
  "arpa/inet.h",
  "errno.h",
  "fcntl.h",
  "linux/aio_abi.h",
  "linux/if_ether.h",
  "linux/magic.h",
  "linux/vhost_types.h",
  "linux/virtio_config.h",
  "linux/virtio_net.h",
  "linux/virtio_ring.h",
  "poll.h",
  "sched.h",
  "signal.h",
  "stddef.h",
  "stdint.h",
  "stdio.h",
  "sys/epoll.h",
  "sys/eventfd.h",
  "sys/mman.h",
  "sys/socket.h",
  "sys/stat.h",
  "sys/uio.h",
  "sys/un.h",
  "sys/vfs.h",
];

/** A layout beside its C struct. */
interface Pair {
  readonly layout: Layout<Fields>;
  readonly c: string;
  /** Our names of fields that C calls otherwise; null for one that C does not have. */
  readonly fields?: Readonly<Record<string, string | null>>;
  /** Only the first part of the struct is declared. */
  readonly isHead?: boolean;
}

const ETHERNET = { destination: "h_dest", source: "h_source", type: "h_proto" };

const PAIRS: readonly Pair[] = [
  { layout: libc.IOVEC, c: "struct iovec" },
  { layout: libc.MSGHDR, c: "struct msghdr" },
  { layout: libc.CMSGHDR, c: "struct cmsghdr" },
  { layout: libc.SOCKADDR_UN, c: "struct sockaddr_un" },
  { layout: libc.UCRED, c: "struct ucred" },
  { layout: libc.SIGACTION, c: "struct sigaction" },
  { layout: libc.POLLFD, c: "struct pollfd" },
  { layout: libc.EPOLL_EVENT, c: "struct epoll_event" },
  { layout: libc.IOCB, c: "struct iocb" },
  { layout: libc.STAT_HEAD, c: "struct stat", fields: { pad0: null }, isHead: true },
  { layout: libc.STATFS_HEAD, c: "struct statfs", isHead: true },
  { layout: virtio.VIRTQ_DESC, c: "struct vring_desc" },
  { layout: virtio.VIRTQ_USED_ELEM, c: "struct vring_used_elem" },
  { layout: virtio.VIRTIO_NET_HDR, c: "struct virtio_net_hdr_v1" },
  { layout: vhostUser.U64, c: "uint64_t", fields: { value: null } },
  { layout: vhostUser.VRING_STATE, c: "struct vhost_vring_state" },
  { layout: vhostUser.VRING_ADDRESS, c: "struct vhost_vring_addr" },
  { layout: vhostUser.MEMORY_TABLE_HEAD, c: "struct vhost_memory" },
  // vhost-user uses the kernel's struct and gives its last field another meaning.
  {
    layout: vhostUser.MEMORY_REGION,
    c: "struct vhost_memory_region",
    fields: { mmap_offset: "flags_padding" },
  },
  { layout: ethernet.ETHERNET, c: "struct ethhdr", fields: ETHERNET },
];

/** Layouts that no installed C header declares. */
const WITHOUT_HEADER: readonly Layout<Fields>[] = [
  vhostUser.HEADER,
  vhostUser.SINGLE_REGION,
  vhostUser.LOG,
  libc.AIO_RING_HEAD,
];

/** Sources whose constants carry the names of C macros and enumerators. */
const SOURCES = [
  "ffi/affinity.ts",
  "ffi/aio.ts",
  "ffi/epoll.ts",
  "ffi/errno.ts",
  "ffi/eventfd.ts",
  "ffi/fd.ts",
  "ffi/memory.ts",
  "ffi/page_guard.ts",
  "ffi/proc.ts",
  "ffi/unix_socket.ts",
  "src/ethernet/frame.ts",
  "src/virtio/features.ts",
  "src/virtio/layouts.ts",
];

/** Names that differ from C's. */
const C_NAMES: Readonly<Record<string, string>> = {
  MAX_PROCESSORS: "CPU_SETSIZE",
  CPU_SET_BYTES: "sizeof(cpu_set_t)",
  PROT_READ_WRITE: "PROT_READ | PROT_WRITE",
  ETHERTYPE_IPV4: "ETH_P_IP",
  ETHERTYPE_ARP: "ETH_P_ARP",
  ETHERTYPE_IPV6: "ETH_P_IPV6",
  ETHERTYPE_RARP: "ETH_P_RARP",
  ETHERTYPE_EXPERIMENT: "ETH_P_802_EX1",
  MIN_FRAME_BYTES: "ETH_ZLEN",
  VIRTQ_DESC_F_NEXT: "VRING_DESC_F_NEXT",
  VIRTQ_DESC_F_WRITE: "VRING_DESC_F_WRITE",
  VIRTQ_DESC_F_INDIRECT: "VRING_DESC_F_INDIRECT",
  VIRTQ_AVAIL_F_NO_INTERRUPT: "VRING_AVAIL_F_NO_INTERRUPT",
  VIRTQ_USED_F_NO_NOTIFY: "VRING_USED_F_NO_NOTIFY",
  VIRTIO_F_EVENT_IDX: "VIRTIO_RING_F_EVENT_IDX",
  VIRTIO_F_INDIRECT_DESC: "VIRTIO_RING_F_INDIRECT_DESC",
  DESC_ALIGN: "VRING_DESC_ALIGN_SIZE",
  AVAIL_ALIGN: "VRING_AVAIL_ALIGN_SIZE",
  USED_ALIGN: "VRING_USED_ALIGN_SIZE",
  HEADER_BYTES: "sizeof(struct virtio_net_hdr_v1)",
  LEGACY_HEADER_BYTES: "sizeof(struct virtio_net_hdr)",
  MAX_PATH_BYTES: "sizeof(((struct sockaddr_un *)0)->sun_path) - 1",
  DESCRIPTOR_BYTES: "sizeof(int)",
};

/** Constants that are ours, or that no installed header names. */
const OURS = [
  "AVAIL_ELEMENT_BYTES",
  "CHUNK_BYTES",
  "COUNT_BYTES",
  "INDEX_BYTES",
  "LINK_BYTES",
  "MAX_DESCRIPTORS",
  "MAX_EVENTS",
  "MAX_QUEUE_SIZE",
  "MAX_RANGES",
  "MOST_DESCRIPTORS",
  "PAGE_SIZE_BYTES",
  "RING_HEAD_BYTES",
  "THIS_THREAD",
  "VHOST_USER_F_PROTOCOL_FEATURES",
  // Linux 6.2; headers of older kernels do not have them.
  "VIRTIO_NET_F_GUEST_USO4",
  "VIRTIO_NET_F_GUEST_USO6",
  "VIRTIO_NET_F_HOST_USO",
  "WORD_BYTES",
  "WOULD_BLOCK",
];

const noCompiler = () => findProgram("cc") === undefined ? "cc" : undefined;

Deno.test("every exported layout is compared with C or known to have no C header", () => {
  const known = new Set<unknown>([...PAIRS.map(({ layout }) => layout), ...WITHOUT_HEADER]);
  for (const module of [libc, virtio, vhostUser]) {
    for (const [name, value] of Object.entries(module)) {
      if (typeof value === "object") ok(known.has(value), `${name} is not compared with C`);
    }
  }
});

testWith(noCompiler, "every layout has the size and the offsets of its C struct", async () => {
  deepStrictEqual(layoutLines(), await printedByC(PAIRS.flatMap(layoutStatements)));
});

testWith(noCompiler, "STAT_BYTES and STATFS_BYTES have room for the whole struct", async () => {
  const [stat, statfs] = await printedByC([
    print("%zu", "sizeof(struct stat)"),
    print("%zu", "sizeof(struct statfs)"),
  ]);
  ok(libc.STAT_BYTES >= Number(stat), `struct stat has ${stat} bytes`);
  ok(libc.STATFS_BYTES >= Number(statfs), `struct statfs has ${statfs} bytes`);
});

testWith(
  noCompiler,
  "controlSpace and controlLength compute what CMSG_SPACE and CMSG_LEN do",
  async () => {
    const sizes = [0, 1, 4, 8, 12, 128];
    const want = sizes.map((size) => `${libc.controlSpace(size)} ${libc.controlLength(size)}`);
    const printed = sizes.map((size) =>
      print("%zu %zu", `CMSG_SPACE(${size})`, `CMSG_LEN(${size})`)
    );
    deepStrictEqual(want, await printedByC(printed));
  },
);

testWith(noCompiler, "every constant with a C name has the value that C gives it", async () => {
  const constants = await readConstants();
  ok(constants.length > 60, `only ${constants.length} constants were found`);
  const names = constants.map(({ name }) => C_NAMES[name] ?? name);
  const printed = await printedByC(
    names.map((name) => print("%llu", `(unsigned long long)(${name})`)),
  );
  const found = constants.map(({ name }, i) => `${name} ${printed[i]}`);
  deepStrictEqual(constants.map(({ name, value }) => `${name} ${value}`), found);
});

testWith(noCompiler, "OsError calls every error number as C does", async () => {
  const codes = Array.from({ length: 134 }, (_, number) => new OsError("ask", number).code);
  const named = codes.filter((code) => !/^E\d+$/.test(code));
  ok(named.length > 30, `only ${named.length} errors have names`);
  const printed = await printedByC(named.map((code) => print("%d", code)));
  deepStrictEqual(named.map((code) => `${codes.indexOf(code)}`), printed);
});

function layoutLines(): string[] {
  return PAIRS.flatMap(({ layout, c, fields, isHead }) => [
    ...isHead ? [] : [`${c} ${layout.size}`],
    ...Object.entries(layout.offset).flatMap(([field, offset]) => {
      const name = cField(field, fields);
      return name === null ? [] : [`${c} ${name} ${offset}`];
    }),
  ]);
}

function layoutStatements({ layout, c, fields, isHead }: Pair): string[] {
  return [
    ...isHead ? [] : [print(`${c} %zu`, `sizeof(${c})`)],
    ...Object.keys(layout.offset).flatMap((field) => {
      const name = cField(field, fields);
      return name === null ? [] : [print(`${c} ${name} %zu`, `offsetof(${c}, ${name})`)];
    }),
  ];
}

function cField(field: string, fields: Pair["fields"]): string | null {
  const name = fields?.[field];
  return name === undefined ? field : name;
}

function print(format: string, ...values: string[]): string {
  return `printf("${format}\\n", ${values.join(", ")});`;
}

/** Compiles and runs a program of such statements; returns the lines that it prints. */
async function printedByC(statements: readonly string[]): Promise<string[]> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
  try {
    const [source, program] = [join(folder, "print.c"), join(folder, "print")];
    const includes = HEADERS.map((header) => `#include <${header}>`);
    const body = ["int main(void) {", ...statements, "return 0;", "}", ""];
    await Deno.writeTextFile(source, ["#define _GNU_SOURCE", ...includes, ...body].join("\n"));
    await run("cc", ["-o", program, source]);
    return (await run(program, [])).trimEnd().split("\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function run(program: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`Cannot run ${program}: ${decoder.decode(stderr)}`);
  return decoder.decode(stdout);
}

const CONSTANT = /^(?:export )?const ([A-Z][A-Z0-9_]+)(?:: \w+)? = ([0-9a-fxobn| ]+);/gm;

/** The numbers that the sources declare, read from their text because most are not exported. */
async function readConstants(): Promise<{ name: string; value: bigint }[]> {
  const texts = SOURCES.map((path) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url)));
  const found = (await Promise.all(texts)).flatMap((text) =>
    [...text.matchAll(CONSTANT)].map(([, name, expression]) => ({
      name: name!,
      value: expression!.split("|").reduce((sum, part) => sum | number(part), 0n),
    }))
  );
  return found.filter(({ name }) => !OURS.includes(name));
}

function number(text: string): bigint {
  return BigInt(text.trim().replace(/n$/, ""));
}
