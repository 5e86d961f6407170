import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { EventFd } from "../../../ffi/eventfd.ts";
import type { Fd } from "../../../ffi/fd.ts";
import {
  acceptUnix,
  connectUnix,
  ControlTruncated,
  hasHungUp,
  listenUnix,
  MAX_DESCRIPTORS,
  peerCredentials,
  receive,
  send,
  unixSocketPair,
  waitReadable,
  WOULD_BLOCK,
} from "../../../ffi/unix_socket.ts";
import { descriptorState } from "../../support/descriptors.ts";
import { countDescriptors } from "../../support/leaks.ts";

const BYTES = Uint8Array.of(1, 2, 3);
/** Longest path that sun_path holds with its final zero (sys/un.h). */
const LONGEST_PATH_BYTES = 107;

function testInFolder(name: string, fn: (folder: string) => void): void {
  Deno.test(name, async () => {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
    const before = countDescriptors();
    try {
      fn(folder);
      strictEqual(countDescriptors(), before);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

function testPair(name: string, fn: (left: Fd, right: Fd) => void): void {
  Deno.test(name, () => {
    const before = countDescriptors();
    const [left, right] = unixSocketPair();
    try {
      fn(left, right);
    } finally {
      left.close();
      right.close();
    }
    strictEqual(countDescriptors(), before);
  });
}

/** Sends so many descriptors of one eventfd with three bytes. */
function sendDescriptors(socket: Fd, count: number): void {
  using event = EventFd.create();
  strictEqual(send(socket, BYTES, new Array<Fd>(count).fill(event.fd)), BYTES.length);
}

testInFolder("listenUnix makes a socket file that only its owner may use", (folder) => {
  const path = join(folder, "s");
  using _ = listenUnix(path);
  const info = Deno.lstatSync(path);
  ok(info.isSocket);
  strictEqual(info.mode! & 0o777, 0o600);
});

testInFolder(
  "listenUnix never gives the socket file wider permissions than it is told",
  (folder) => {
    const path = join(folder, "s");
    using _ = listenUnix(path, { mode: 0o200 });
    strictEqual(Deno.lstatSync(path).mode! & 0o777, 0o200);
  },
);

testInFolder("listenUnix and connectUnix accept a path of 107 bytes", (folder) => {
  const path = join(folder, "x".repeat(LONGEST_PATH_BYTES - folder.length - 1));
  strictEqual(path.length, LONGEST_PATH_BYTES);
  using listener = listenUnix(path);
  using _client = connectUnix(path);
  using accepted = acceptUnix(listener);
  ok(accepted !== null);
  ok(Deno.lstatSync(path).isSocket);
});

testInFolder("listenUnix and connectUnix refuse a path of 108 bytes", (folder) => {
  const path = join(folder, "x".repeat(LONGEST_PATH_BYTES - folder.length));
  throws(() => listenUnix(path), {
    name: "OsError",
    message: `Cannot listen on ${path}: ENAMETOOLONG (name too long)`,
  });
  throws(() => connectUnix(path), { name: "OsError", code: "ENAMETOOLONG" });
});

testInFolder("listenUnix counts the bytes of a path, not its characters", (folder) => {
  const path = join(folder, "ü".repeat(Math.ceil((LONGEST_PATH_BYTES - folder.length) / 2)));
  ok(path.length <= LONGEST_PATH_BYTES);
  throws(() => listenUnix(path), { name: "OsError", code: "ENAMETOOLONG" });
});

testInFolder("listenUnix throws EADDRINUSE when something is there, stale or live", (folder) => {
  const path = join(folder, "s");
  using _ = listenUnix(path);
  throws(() => listenUnix(path), {
    message: `Cannot listen on ${path}: EADDRINUSE (address already in use)`,
  });
});

testInFolder("listenUnix throws ENOENT when the folder is missing", (folder) => {
  throws(() => listenUnix(join(folder, "no", "s")), { name: "OsError", code: "ENOENT" });
});

testInFolder("connectUnix throws ENOENT when nothing is there", (folder) => {
  throws(() => connectUnix(join(folder, "s")), { name: "OsError", code: "ENOENT" });
});

testInFolder("connectUnix throws ECONNREFUSED when the socket is stale", (folder) => {
  const path = join(folder, "s");
  listenUnix(path).close();
  ok(Deno.lstatSync(path).isSocket);
  throws(() => connectUnix(path), { name: "OsError", code: "ECONNREFUSED" });
});

testInFolder("connectUnix throws ECONNREFUSED when a file is there", (folder) => {
  const path = join(folder, "file");
  Deno.writeTextFileSync(path, "");
  throws(() => connectUnix(path), { name: "OsError", code: "ECONNREFUSED" });
});

testInFolder("connectUnix throws EAGAIN at once when the queue is full", (folder) => {
  const path = join(folder, "s");
  using _listener = listenUnix(path, { backlog: 0 });
  using _first = connectUnix(path);
  throws(() => connectUnix(path), { name: "OsError", code: "EAGAIN" });
});

testInFolder("acceptUnix returns null when nobody waits", (folder) => {
  using listener = listenUnix(join(folder, "s"));
  strictEqual(acceptUnix(listener), null);
});

testInFolder(
  "acceptUnix makes a non-blocking descriptor that programs do not inherit",
  (folder) => {
    const path = join(folder, "s");
    using listener = listenUnix(path);
    using client = connectUnix(path);
    using accepted = acceptUnix(listener)!;
    const want = { isCloseOnExec: true, isNonBlocking: true };
    for (const fd of [listener, client, accepted]) {
      deepStrictEqual(descriptorState(fd.number), want);
    }
  },
);

testInFolder("peerCredentials tells who connected", (folder) => {
  const path = join(folder, "s");
  using listener = listenUnix(path);
  using _client = connectUnix(path);
  using accepted = acceptUnix(listener)!;
  deepStrictEqual(peerCredentials(accepted), {
    pid: Deno.pid,
    uid: process.getuid!(),
    gid: process.getgid!(),
  });
});

testPair("receive returns what send was given, no more than asked for", (left, right) => {
  strictEqual(send(left, Uint8Array.of(1, 2, 3, 4, 5)), 5);
  const into = new Uint8Array(3);
  strictEqual(receive(right, into, []), 3);
  deepStrictEqual([...into], [1, 2, 3]);
  strictEqual(receive(right, into, []), 2);
  deepStrictEqual([...into], [4, 5, 3]);
});

testPair("receive fills a part of a larger buffer", (left, right) => {
  send(left, BYTES);
  const buffer = new Uint8Array(100);
  receive(right, buffer.subarray(50, 60), []);
  deepStrictEqual([...buffer.subarray(49, 54)], [0, 1, 2, 3, 0]);
});

testPair("receive returns WOULD_BLOCK when there is nothing", (_, right) => {
  strictEqual(receive(right, new Uint8Array(1), []), WOULD_BLOCK);
});

testPair("receive returns 0 at the end of the stream, after what was sent", (left, right) => {
  send(left, BYTES);
  left.close();
  strictEqual(receive(right, new Uint8Array(8), []), 3);
  strictEqual(receive(right, new Uint8Array(8), []), 0);
});

testPair("receive throws ECONNRESET when the peer left with bytes unread", (left, right) => {
  send(right, BYTES);
  left.close();
  throws(() => receive(right, new Uint8Array(1), []), { name: "OsError", code: "ECONNRESET" });
});

testPair("receive passes no descriptors when none came", (left, right) => {
  send(left, BYTES);
  const fds: Fd[] = [];
  receive(right, new Uint8Array(3), fds);
  deepStrictEqual(fds, []);
});

for (const count of [1, 2, MAX_DESCRIPTORS]) {
  testPair(`receive passes ${count} descriptors that programs do not inherit`, (left, right) => {
    sendDescriptors(left, count);
    const fds: Fd[] = [];
    strictEqual(receive(right, new Uint8Array(3), fds), 3);
    strictEqual(fds.length, count);
    for (const fd of fds) {
      ok(descriptorState(fd.number).isCloseOnExec);
      fd.close();
    }
  });
}

testPair(
  "receive passes descriptors of the same file in the order of the message",
  (left, right) => {
    using first = EventFd.create(1);
    using second = EventFd.create(2);
    send(left, BYTES, [first.fd, second.fd]);
    const fds: Fd[] = [];
    receive(right, new Uint8Array(3), fds);
    const counts = fds.map((fd) =>
      /eventfd-count:\s+(\d)/.exec(Deno.readTextFileSync(`/proc/self/fdinfo/${fd.number}`))![1]
    );
    deepStrictEqual(counts, ["1", "2"]);
    for (const fd of fds) fd.close();
  },
);

for (const count of [MAX_DESCRIPTORS + 1, 253]) {
  testPair(
    `receive throws ControlTruncated and keeps none of ${count} descriptors`,
    (left, right) => {
      sendDescriptors(left, count);
      const fds: Fd[] = [];
      throws(() => receive(right, new Uint8Array(3), fds), ControlTruncated);
      deepStrictEqual(fds, []);
    },
  );
}

testPair("receive takes descriptors with the first byte of their message only", (left, right) => {
  sendDescriptors(left, 1);
  sendDescriptors(left, 2);
  const fds: Fd[] = [];
  strictEqual(receive(right, new Uint8Array(8), fds), 3);
  strictEqual(fds.length, 1);
  strictEqual(receive(right, new Uint8Array(1), fds), 1);
  strictEqual(fds.length, 3);
  strictEqual(receive(right, new Uint8Array(8), fds), 2);
  strictEqual(fds.length, 3);
  for (const fd of fds) fd.close();
});

testPair("receive gives each descriptor once", (left, right) => {
  sendDescriptors(left, 2);
  send(left, BYTES);
  const fds: Fd[] = [];
  for (let i = 0; i < 2; i++) strictEqual(receive(right, new Uint8Array(3), fds), 3);
  strictEqual(receive(right, new Uint8Array(3), fds), WOULD_BLOCK);
  strictEqual(fds.length, 2);
  for (const fd of fds) fd.close();
});

testPair(
  "send leaves what is more than 65,536 bytes, and receive gets all of it",
  (left, right) => {
    const data = Uint8Array.from({ length: 70_000 }, (_, i) => i % 251);
    strictEqual(send(left, data), 65_536);
    strictEqual(send(left, data.subarray(65_536)), 70_000 - 65_536);
    const into = new Uint8Array(data.length);
    let filled = 0;
    while (filled < data.length) {
      const length = receive(right, into.subarray(filled), []);
      ok(length > 0 && length <= 65_536);
      filled += length;
    }
    deepStrictEqual(into, data);
  },
);

testPair(
  "send throws EINVAL and sends nothing with more descriptors than the kernel passes",
  (left, right) => {
    throws(() => sendDescriptors(left, 300), { name: "OsError", code: "EINVAL" });
    strictEqual(receive(right, new Uint8Array(3), []), WOULD_BLOCK);
  },
);

testPair("send leaves the descriptors with the caller", (left) => {
  using event = EventFd.create();
  send(left, BYTES, [event.fd]);
  event.signal();
  strictEqual(event.drain(), 1n);
});

testPair("send returns WOULD_BLOCK when the peer does not read", (left) => {
  const data = new Uint8Array(65536);
  let sent = 0;
  while (sent !== WOULD_BLOCK) sent = send(left, data);
  strictEqual(send(left, BYTES), WOULD_BLOCK);
});

testPair("send throws EPIPE when the peer is gone, and the process lives", (left, right) => {
  right.close();
  throws(() => send(left, BYTES), {
    name: "OsError",
    message: "Cannot send to a socket: EPIPE (broken pipe)",
  });
});

testPair(
  "send throws EBADF when a descriptor is not open",
  (left) => {
    const stray = { number: 1_000_000 } as Fd;
    throws(() => send(left, BYTES, [stray]), { name: "OsError", code: "EBADF" });
  },
);

testPair(
  "hasHungUp is false while the peer lives, whether it said something or not",
  (left, right) => {
    strictEqual(hasHungUp(right), false);
    send(left, BYTES);
    strictEqual(hasHungUp(right), false);
  },
);

testPair("hasHungUp is true when the peer left and everything was read", (left, right) => {
  send(left, BYTES);
  left.close();
  receive(right, new Uint8Array(3), []);
  strictEqual(hasHungUp(right), true);
});

testPair("hasHungUp is true when the peer left with bytes unread", (left, right) => {
  send(right, BYTES);
  left.close();
  strictEqual(hasHungUp(right), true);
});

testPair("waitReadable tells whether something came in time", (left, right) => {
  strictEqual(waitReadable(right, 0), false);
  send(left, BYTES);
  strictEqual(waitReadable(right, 5000), true);
  left.close();
  strictEqual(waitReadable(right, 5000), true);
});
