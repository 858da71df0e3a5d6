"""Vega as a script within a page, for pages that need no network."""

import vl_convert


def vega_script() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, unable to end its script element early."""
    script = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub has no default
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
