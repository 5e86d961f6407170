/**
 * A thread of hosts that has a fault: it dies as soon as its doorbell was rung, or of its start.
 *
 * @module
 */
import { Epoll, EPOLLIN } from "../../ffi/epoll.ts";
import { Fd } from "../../ffi/fd.ts";
import type { HostWorkerReport, HostWorkerSetup } from "../../src/host/worker.ts";

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<HostWorkerSetup>) => void) | null;
  postMessage(report: HostWorkerReport): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data }) => {
  using epoll = Epoll.create();
  using stack = new DisposableStack();
  const [socket] = data.hosts.map((host) => stack.use(Fd.adopt(host.socket)));
  if (data.hosts[0]!.config.name === "unlucky") throw new Error("it cannot start");
  scope.postMessage({ kind: "running" });
  // The other end of the socket is closed: that is the test's way to kill it.
  epoll.add(socket!.number, EPOLLIN, 0);
  epoll.add(data.doorbellFd, EPOLLIN, 1);
  while (epoll.wait(1000) === 0);
  if (epoll.token(0) === 1) return scope.postMessage({ kind: "stopped" });
  throw new Error("a fault of ours");
};
