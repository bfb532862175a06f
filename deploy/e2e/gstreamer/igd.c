// Stands in for libgupnp-igd, the part of libnice that asks a home's router for port mappings: it maps nothing. See whip-client.sh.

void *gupnp_simple_igd_thread_new(void) { return 0; }
unsigned long gupnp_simple_igd_get_type(void) { return 0; }
void gupnp_simple_igd_add_port(void) {}
void gupnp_simple_igd_remove_port_local(void) {}
