import { createServer } from "node:http";
import { reserve } from "./reserve";

createServer((request, response) => {
  const skipper = String(request.headers["x-bargee-mark"]);
  const query = new URL(request.url!, "http://quillgate").searchParams;
  try {
    response.end(JSON.stringify(reserve(skipper, query)));
  } catch (error) {
    response.writeHead(409).end(String(error));
  }
}).listen(7419);
