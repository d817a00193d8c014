"""What the .pth of code-data-share does."""
import cds

cds.init_from_env()
