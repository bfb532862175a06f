import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Faces } from "./Faces.jsx";

const edge = new URLSearchParams(location.search).get("edge") ?? "http://127.0.0.1:8080/";
createRoot(document.body.appendChild(document.createElement("main"))).render(<StrictMode><Faces edge={edge} /></StrictMode>);
