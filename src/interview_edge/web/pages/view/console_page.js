// The page at /console.

import { Account } from "../server/account.js";
import { openFrame } from "./frame.js";
import { HealthPanel } from "./health_panel.js";

const account = new Account();
const health = new HealthPanel(account);
await openFrame(account);
void health.run();
