import { io } from "socket.io-client";
import { Client } from "./client.js";

export { TickcastError } from "./errors.js";

/** @type {typeof import("../types/index.d.ts").connect} */
export const connect = (url, options = {}) => new Client(io, url, options);
