import { connect } from "node:net";

const { port, hostname } = new URL(process.env.LARKPOST_URL!);
const bus = connect(Number(port), hostname);

export const closed = new Set<string>();

bus.on("data", (line) => {
  const [topic, lock] = String(line).trim().split(" ");
  if (topic === "lock.closed") closed.add(lock);
});

export function publish(topic: string, event: object): void {
  bus.write(`${topic} ${JSON.stringify(event)}\n`);
}
