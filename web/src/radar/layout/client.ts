/** Asks the layout worker; only the newest request's answer is given, older ones are dropped. */
import type { LayoutRequest, LayoutResult } from "./types";
import type { Done, Job } from "./worker";

export class LayoutClient {
  readonly #worker: Worker;
  #latest = 0;
  #busy = false;
  #waiting: Job | null = null;

  constructor(onResult: (result: LayoutResult) => void) {
    this.#worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = (event: MessageEvent<Done>) => {
      this.#busy = false;
      if (event.data.id === this.#latest) onResult(event.data.result);
      if (this.#waiting !== null) this.#send(this.#waiting);
    };
  }

  /** At most one request is worked on and one waits; a newer one takes the waiting one's place. */
  ask(request: LayoutRequest): void {
    const job: Job = { id: ++this.#latest, request };
    if (this.#busy) this.#waiting = job;
    else this.#send(job);
  }

  stop(): void {
    this.#worker.terminate();
  }

  #send(job: Job): void {
    this.#waiting = null;
    this.#busy = true;
    this.#worker.postMessage(job);
  }
}
