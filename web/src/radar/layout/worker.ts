/** The layout off the page's thread: a big map must not stop the page from answering. */
import { layout } from "./layout";
import type { LayoutRequest, LayoutResult } from "./types";

export interface Job {
  id: number;
  request: LayoutRequest;
}

export interface Done {
  id: number;
  result: LayoutResult;
}

self.onmessage = (event: MessageEvent<Job>) => {
  const done: Done = { id: event.data.id, result: layout(event.data.request) };
  self.postMessage(done);
};
