import { connect } from "node:net";

const { port, hostname } = new URL(process.env.LARKPOST_URL!);
const bus = connect(Number(port), hostname);

export function publish(topic: string, event: object): void {
  bus.write(`${topic} ${JSON.stringify(event)}\n`);
}
