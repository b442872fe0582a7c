"""llama.cpp's server as a process: reads what to open as a line of JSON, says READY and its URL, ends when stdin closes.

Run as a file, so that it loads nothing but xllamacpp.
"""

import json
import os
import sys
from typing import Any


def opened(told: dict[str, Any]) -> Any:
    """The running server."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = told["model"]
    params.n_ctx, params.n_parallel = told["context"] * told["slots"], told["slots"]
    params.n_batch = params.n_ubatch = told["batch"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = told["threads"]
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [told["key"]]
    params.embedding, params.lora_init_without_apply = True, True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_NONE
    params.n_threads_http = told["slots"] + 4
    params.cache_ram_mib, params.kv_unified, params.ctx_shift = 0, False, False
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.verbosity = 1
    if told["exact"]:
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if told["drafts"]:
        drafts = params.speculative.ngram_simple
        params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        drafts.size_n, drafts.size_m = told["drafts"]
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in told["loras"]]
    return xllamacpp.Server(params)


def main() -> None:
    server = opened(json.loads(sys.stdin.readline()))
    print(f"READY {server.listening_address}", flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
