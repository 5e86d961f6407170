/**
 * Front-ends that break the rules of the stream (F01 to F21): silence, pieces, sizes, crowds.
 *
 * @module
 */
import type { Fd } from "../../../../ffi/fd.ts";
import { connectUnix } from "../../../../ffi/unix_socket.ts";
import { HEADER } from "../../../../src/vhost_user/layouts.ts";
import { encode } from "../../../../src/vhost_user/message.ts";
import {
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  MAX_PAYLOAD_BYTES,
  Request,
  VERSION,
} from "../../../../src/vhost_user/numbers.ts";
import { REQUESTS } from "../../../../src/vhost_user/requests.ts";
import { nextTurn } from "../../../support/eventually.ts";
import { NOTHING, ringState, u64 } from "../../../support/vhost_messages.ts";
import { TestGuest } from "../../../support/test_guest.ts";
import { bad, type Input, legal } from "../input.ts";
import { LAST_REQUEST } from "../requests.ts";
import { pause, type Scene } from "../scene.ts";

const GET_FEATURES = encode(Request.GET_FEATURES, 0, NOTHING);
const SET_FEATURES = encode(Request.SET_FEATURES, 0, u64(0));
/** Sessions in a row, half of them complete. */
const SESSIONS = 200;
const CROWD = 1000;
/** So long the back-end may take until it notices what is there, or that it is not. */
const NOTICE_MS = 100;

/** A header alone. */
export function header(request: number, flags: number, size: number): Uint8Array {
  const data = new Uint8Array(HEADER.size);
  HEADER.write(new DataView(data.buffer), 0, { request, flags, size });
  return data;
}

/** F01 to F21. */
export const STREAM_INPUTS: readonly Input[] = [
  bad("F01", async (scene) => void await scene.connect()),
  legal("F02", async (scene) => {
    const client = await scene.connect();
    for (const byte of [...encode(Request.SET_VRING_NUM, 0, ringState(0, 64)), ...GET_FEATURES]) {
      await client.send(Uint8Array.of(byte));
      await pause(1);
    }
    scene.note(await client.number(Request.GET_FEATURES) > 0n ? "answers" : "answers oddly");
  }),
  bad("F03", async (scene) => {
    const client = await scene.connect();
    await client.send(header(Request.SET_FEATURES, VERSION, 8));
    await pause(NOTICE_MS);
  }),
  bad("F04", (scene) => leaveAfter(scene, 5)),
  bad("F05", (scene) => leaveAfter(scene, HEADER.size + 3)),
  bad("F06", (scene) => scene.provoke(encode(Request.SET_FEATURES, 0, NOTHING))),
  bad("F07", async (scene) => {
    for (const size of [MAX_PAYLOAD_BYTES + 1, 2 ** 31, 2 ** 32 - 1]) {
      await scene.provoke(header(Request.SET_MEM_TABLE, VERSION, size));
    }
  }),
  bad("F08", async (scene) => {
    for (const request of Object.values(Request)) {
      const [fewest, most] = REQUESTS[request].bytes;
      for (const size of [fewest - 1, most + 1].filter((size) => size >= 0)) {
        await scene.provoke(encode(request, 0, new Uint8Array(size)));
      }
    }
  }),
  legal("F09", async (scene) => {
    const client = await scene.connect();
    const protocol = encode(Request.GET_PROTOCOL_FEATURES, 0, NOTHING);
    await client.send(Uint8Array.from(new Array(40).fill([...GET_FEATURES, ...protocol]).flat()));
    for (let i = 0; i < 40; i++) {
      await client.number(Request.GET_FEATURES);
      await client.number(Request.GET_PROTOCOL_FEATURES);
    }
    scene.note("answers");
  }),
  bad("F10", async (scene) => {
    for (const request of [0, LAST_REQUEST, 2 ** 32 - 1]) {
      await scene.visit((client) => scene.ask(client, request, u64(1)));
    }
  }),
  bad("F11", async (scene) => {
    for (const version of [0, 2, 3]) {
      await scene.provoke(header(Request.GET_FEATURES, version, 0));
    }
  }),
  bad("F12", (scene) => scene.provoke(header(Request.GET_FEATURES, 0xffff_fff1, 0))),
  bad("F13", (scene) => scene.provoke(header(Request.GET_FEATURES, VERSION | FLAG_REPLY, 0))),
  legal("F14", (scene) => scene.provoke(encode(Request.SET_OWNER, FLAG_NEED_REPLY, NOTHING))),
  bad("F15", async (scene) => (await scene.connect()).fill(GET_FEATURES)),
  bad("F16", async (scene) => {
    const path = scene.sockets.attacked;
    const connection = scene.keep(await Deno.connect({ transport: "unix", path }));
    await connection.closeWrite();
    await pause(NOTICE_MS);
  }),
  bad("F17", async (scene) => {
    for (let i = 0; i < 50; i++) {
      using client = await scene.connect();
      for (let n = 0; n < 20; n++) await client.send(GET_FEATURES);
    }
  }),
  bad("F18", async (scene) => {
    const first = await scene.connect();
    await scene.look(first);
    await scene.look(await scene.connect());
    await scene.look(first);
  }),
  bad("F19", async (scene) => {
    for (let i = 0; i < CROWD; i++) {
      const socket = tryConnect(scene.sockets.attacked);
      if (socket !== null) scene.keep(socket);
      if (i % 10 === 0) await nextTurn();
    }
    await pause(NOTICE_MS);
  }),
  bad("F20", async (scene) => {
    for (let i = 0; i < SESSIONS; i++) {
      if (i % 2 === 0) await leaveAfter(scene, i % SET_FEATURES.length);
      else await (await TestGuest.attach(scene.sockets.attacked))[Symbol.asyncDispose]();
    }
  }),
];

async function leaveAfter(scene: Scene, bytes: number): Promise<void> {
  {
    using client = await scene.connect();
    await client.send(SET_FEATURES.subarray(0, bytes));
    await nextTurn();
  }
  await nextTurn();
}

function tryConnect(path: string): Fd | null {
  try {
    return connectUnix(path);
  } catch {
    return null;
  }
}
