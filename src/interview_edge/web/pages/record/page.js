// The page at /audio-storage-test: its parts, put together.

import { Account } from "../server/account.js";
import { CleanupPanel } from "../files/cleanup.js";
import { FilesPanel } from "../files/panel.js";
import { StorageApi } from "../files/storage_api.js";
import { TranscriptPanel } from "../transcript/panel.js";
import { ChunkStore } from "../upload/chunk_store.js";
import { openFrame } from "../view/frame.js";
import { HealthPanel } from "../view/health_panel.js";
import { RecorderPanel } from "./panel.js";
import { UnfinishedPanel } from "./unfinished_panel.js";

const account = new Account();
const store = await ChunkStore.open();
const recorder = new RecorderPanel(store, account);
const unfinished = new UnfinishedPanel(store, account, recorder);
const api = new StorageApi(account);
const files = new FilesPanel(api, account);
new CleanupPanel(api, files);
const health = new HealthPanel(account);
new TranscriptPanel(recorder, health);

await openFrame(account);
recorder.show();
await recorder.listMicrophones();
await unfinished.show();
void health.run();
