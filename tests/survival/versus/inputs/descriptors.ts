/**
 * Front-ends that send descriptors where none belong, none where one is due, or odd ones (F23 to F36).
 *
 * @module
 */
import { join } from "node:path";
import { EventFd } from "../../../../ffi/eventfd.ts";
import type { Fd } from "../../../../ffi/fd.ts";
import { libc } from "../../../../ffi/libc.ts";
import { createMemfd } from "../../../../ffi/memory.ts";
import { send, unixSocketPair, WOULD_BLOCK } from "../../../../ffi/unix_socket.ts";
import { HEADER } from "../../../../src/vhost_user/layouts.ts";
import { encode } from "../../../../src/vhost_user/message.ts";
import { Request } from "../../../../src/vhost_user/numbers.ts";
import { REQUESTS } from "../../../../src/vhost_user/requests.ts";
import { openFile } from "../../../support/descriptors.ts";
import { countDescriptors } from "../../../support/leaks.ts";
import { memoryTable, NOTHING, u64 } from "../../../support/vhost_messages.ts";
import { bad, type Input, legal } from "../input.ts";
import { MEMORY_BYTES, MEMORY_NAME, WHOLE } from "../raw_guest.ts";
import { pause, type Scene } from "../scene.ts";

/** The most descriptors that the kernel passes with one message (SCM_MAX_FD). */
const MOST_DESCRIPTORS = 253;
const EVENTFD_REQUESTS = [
  Request.SET_VRING_KICK,
  Request.SET_VRING_CALL,
  Request.SET_VRING_ERR,
] as const;
const GET_FEATURES = encode(Request.GET_FEATURES, 0, NOTHING);
/** The largest count of an eventfd: writing it once more would wait (man 2 eventfd). */
const MAX_COUNT = 0xffff_ffff_ffff_fffen;
// bits/fcntl-linux.h
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
/** Frames for which the back-end calls, or would. */
const CALLS = 20;
/** Room for descriptors that a back-end is left. */
const SPARE_DESCRIPTORS = 2;
/** Far more than a back-end needs. */
const MANY_DESCRIPTORS = 20_000;

/** F23 to F36. */
export const DESCRIPTOR_INPUTS: readonly Input[] = [
  bad("F23", async (scene) => {
    const { fd } = scene.keep(EventFd.create());
    for (const request of Object.values(Request)) {
      const { fds, bytes } = REQUESTS[request];
      if (fds[1] === 0) await scene.provoke(encode(request, 0, new Uint8Array(bytes[0])), [fd]);
    }
  }),
  bad("F24", async (scene) => {
    const { fd } = scene.keep(EventFd.create());
    await scene.provoke(GET_FEATURES, new Array(MOST_DESCRIPTORS).fill(fd));
  }),
  bad("F25", async (scene) => {
    for (const request of EVENTFD_REQUESTS) await scene.provoke(encode(request, 0, u64(0)));
    await scene.provoke(encode(Request.SET_MEM_TABLE, 0, memoryTable([WHOLE])));
  }),
  bad("F26", async (scene) => {
    const { fd } = scene.keep(EventFd.create());
    for (const request of EVENTFD_REQUESTS) {
      await scene.provoke(encode(request, 0, u64(0x100)));
      await scene.provoke(encode(request, 0, u64(0x100)), [fd]);
      await scene.provoke(encode(request, 0, u64(0)));
    }
  }),
  ...(["kick", "call", "memory"] as const).map((what) =>
    bad("F27", async (scene) => {
      for (const fd of await impostors(scene)) {
        await scene.visit((client) => {
          if (what === "memory") {
            return scene.ask(client, Request.SET_MEM_TABLE, memoryTable([WHOLE]), [fd]);
          }
          const request = what === "kick" ? Request.SET_VRING_KICK : Request.SET_VRING_CALL;
          return scene.ask(client, request, u64(0), [fd]);
        });
      }
    }, `as ${what}`)
  ),
  bad("F28", async (scene) => {
    const { fd } = scene.keep(EventFd.create());
    const table = encode(Request.SET_MEM_TABLE, 0, memoryTable(new Array(8).fill(WHOLE)));
    for (const count of [9, 33, MOST_DESCRIPTORS]) {
      await scene.provoke(table, new Array(count).fill(fd));
    }
  }),
  bad("F29", async (scene) => {
    const { fd } = scene.keep(EventFd.create());
    const message = encode(Request.SET_VRING_CALL, 0, u64(0));
    for (let i = 0; i < 20; i++) {
      using client = await scene.connect();
      await client.send(message.subarray(0, HEADER.size));
      await client.send(message.subarray(HEADER.size), new Array(8).fill(fd));
      await scene.look(client);
    }
  }),
  bad("F30", async (scene) => {
    for (const request of EVENTFD_REQUESTS) {
      const client = await scene.session();
      await scene.ask(client, request, u64(0), [client.socket]);
      client[Symbol.dispose]();
    }
  }),
  legal("F31", async (scene) => {
    const half = WHOLE.size / 2n;
    const guest = await scene.guest({
      regions: [{ ...WHOLE, size: half }, {
        guest: WHOLE.guest! + half,
        user: WHOLE.user! + half,
        size: half,
        offset: half,
      }],
    });
    if (!await guest.works()) throw new Error("takes no frame");
  }),
  legal("F32", async (scene) => {
    const guest = await scene.guest({ callIsKick: true });
    if (!await guest.works()) throw new Error("takes no frame");
    await scene.flood();
  }),
  legal("F33", (scene) => fullCall(scene, () => {})),
  bad("F34", (scene) => fullCall(scene, makeBlocking)),
  bad("F35", async (scene) => {
    const [end, other] = unixSocketPair();
    scene.keep(other);
    const data = new Uint8Array(8);
    while (send(end, data) !== WOULD_BLOCK);
    makeBlocking(end);
    await callAgainAndAgain(scene, scene.keep(end));
  }, "a full socket"),
  bad("F35", async (scene) => {
    const pipe = scene.keep(openFile(await fifo(scene), "r+"));
    makeNonBlocking(pipe);
    while (libc().write(pipe.number, new Uint8Array(8), 8n) > 0n);
    makeBlocking(pipe);
    await callAgainAndAgain(scene, pipe);
  }),
  bad("F36", async (scene) => {
    const client = await scene.session();
    const { fd } = scene.keep(EventFd.create());
    await limitDescriptors(scene.pid, countDescriptors(scene.pid) + SPARE_DESCRIPTORS);
    try {
      const table = encode(Request.SET_MEM_TABLE, 0, memoryTable(new Array(8).fill(WHOLE)));
      await client.send(table, new Array(8).fill(fd));
      await scene.look(client);
    } finally {
      await limitDescriptors(scene.pid, MANY_DESCRIPTORS);
    }
  }),
];

async function limitDescriptors(pid: number, most: number): Promise<void> {
  const args = ["--pid", String(pid), `--nofile=${most}:`];
  const { success } = await new Deno.Command("prlimit", { args, stderr: "null" }).output();
  if (!success) throw new Error("Cannot limit descriptors with prlimit");
}

/** Descriptors of every kind that is no eventfd and no memory. */
async function impostors(scene: Scene): Promise<Fd[]> {
  const fds = [
    openFile("/dev/zero", "r+"),
    openFile("/dev/null", "r+"),
    openFile("/proc", "r"),
    ...unixSocketPair(),
    openFile(await fifo(scene), "r+"),
  ];
  for (const fd of fds) scene.keep(fd);
  return fds;
}

async function fifo(scene: Scene): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-versus-" });
  scene.atEnd(() => Deno.remove(folder, { recursive: true }));
  const path = join(folder, "fifo");
  await new Deno.Command("mkfifo", { args: [path] }).output();
  return path;
}

// The count is full when the rings start already, and again whenever somebody has emptied it.
async function fullCall(scene: Scene, prepare: (fd: Fd) => void): Promise<void> {
  const { fd } = scene.keep(EventFd.create());
  await callAgainAndAgain(scene, fd, () => {
    // Else it would be us who wait.
    makeNonBlocking(fd);
    const full = new Uint8Array(new BigUint64Array([MAX_COUNT]).buffer);
    // Again when the back-end, which may wait to write, comes in between.
    do libc().read(fd.number, new Uint8Array(8), 8n); while (
      libc().write(fd.number, full, 8n) < 0n
    );
    prepare(fd);
  });
}

async function callAgainAndAgain(
  scene: Scene,
  call: Fd,
  prepare: () => void = () => {},
): Promise<void> {
  const guest = await scene.guest({ call, file: createMemfd(MEMORY_NAME, MEMORY_BYTES) });
  for (let i = 0; i < CALLS; i++) {
    prepare();
    scene.note(await guest.works() ? "goes on" : "takes nothing");
    await pause(1);
  }
}

function makeBlocking(fd: Fd): void {
  libc().fcntl(fd.number, F_SETFL, libc().fcntl(fd.number, F_GETFL, 0) & ~O_NONBLOCK);
}

function makeNonBlocking(fd: Fd): void {
  libc().fcntl(fd.number, F_SETFL, libc().fcntl(fd.number, F_GETFL, 0) | O_NONBLOCK);
}
